"""Tiny models that transformers has written, as folders in Hugging Face's layout, with their logits."""

import shutil
from pathlib import Path

import numpy as np
import pytest

GOLDEN = Path(__file__).resolve().parent / "golden"
NAMES = sorted(path.parent.name for path in GOLDEN.glob("*/logits.npz"))


@pytest.fixture(scope="session")
def make_golden_folder(tmp_path_factory):
    """Returns a function that makes the folder of a golden model, weights and tokenizer together."""

    def make(name: str) -> Path:
        folder = tmp_path_factory.mktemp(name) / "model"
        shutil.copytree(GOLDEN / name, folder, ignore=shutil.ignore_patterns("*.npz"))
        with np.load(GOLDEN / name / "logits.npz") as golden:
            shutil.copytree(GOLDEN / "tokenizers" / str(golden["tokenizer"]), folder, dirs_exist_ok=True)
        return folder

    return make


@pytest.fixture(scope="session")
def read_logits():
    """Returns a function that gives a golden model's token ids, (2, 12) int32, and its logits, (2, 12, vocabulary)."""

    def read(name: str) -> tuple[np.ndarray, np.ndarray]:
        with np.load(GOLDEN / name / "logits.npz") as golden:
            return golden["token_ids"], golden["logits"]

    return read


@pytest.fixture(params=NAMES)
def golden_name(request) -> str:
    """Each golden model in turn."""
    return request.param


@pytest.fixture
def golden_names() -> list[str]:
    return NAMES
