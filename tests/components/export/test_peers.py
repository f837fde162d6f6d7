"""What transformers itself makes of exported folders: logits, ids of texts and greedy text, for each family and for SmolLM2."""

import gc
import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from components.trainer.hugging_face import export_hugging_face
from components.trainer.model import load_model

pytestmark = pytest.mark.slow

HERE = Path(__file__).resolve().parent
NUM_NEW_TOKENS = 24
TEXTS = (
    "The quick brown fox jumps over the lazy dog. It's 1,234.5 metres away, isn't it?",
    "def add(a, b):\n    return a + b  # sum\n\n\nprint(add(2, 40))",
    "Gr\u00f6\u00dfe: 12 \u20ac  \t na\u00efve \u6570\u5b66 \U0001f600",
)


@pytest.fixture(scope="session")
def ask_transformers():
    """Returns a function that has transformers describe folders (see `peer_transformers.py`)."""
    python = os.environ.get("PEER_PYTHON")
    if not python:
        pytest.skip("PEER_PYTHON must be the Python of an environment with torch and transformers")

    def ask(folders, out):
        command = [python, str(HERE / "peer_transformers.py"), str(out), *map(str, folders)]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env=os.environ | {"HF_HUB_OFFLINE": "1"}
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(out.read_text())["models"]

    return ask


def compute_logits(model, ids):
    token_ids = np.array([ids], np.int32)
    return np.array(model({"token_ids": token_ids, "padding_mask": np.ones_like(token_ids)}, training=False))[0]


def compare(model, found, texts, ends, *, starts_with=()):
    """Compares with what transformers found, and returns the largest difference of a logit."""
    differences = []
    for text, theirs in zip(texts, found["texts"], strict=True):
        ids = [*starts_with, *(int(i) for i in model.preprocessor.tokenizer(text))]
        assert theirs["token_ids"] == ids, text
        new = theirs["new_token_ids"]
        assert len(new) == NUM_NEW_TOKENS or new[-1] in ends
        logits = compute_logits(model, [*ids, *new])
        differences.append(float(np.abs(logits[len(ids) - 1] - theirs["logits"]).max()))
        # Each is the likeliest behind those before it: the text that is chosen greedily is the same.
        assert logits[len(ids) - 1 : -1].argmax(axis=-1).tolist() == new, text
    return max(differences)


def test_every_family(ask_transformers, tiny_models, small_tokenizers, tmp_path):
    folders, largest = [], {}
    for name in tiny_models.NAMES:
        model = tiny_models.make_model(name, tmp_path / name / "preset", small_tokenizers)
        folder = tmp_path / "hf" / name
        # Without the publisher's files: all of the folder is made here.
        export_hugging_face(model, str(tmp_path / "nothing"), str(folder))
        (folder / "request.json").write_text(json.dumps({"texts": TEXTS, "num_new_tokens": NUM_NEW_TOKENS}))
        folders.append(folder)
    found = ask_transformers(folders, tmp_path / "out.json")
    for name in tiny_models.NAMES:
        model = tiny_models.make_model(name, tmp_path / name / "preset", small_tokenizers)
        assert found[name]["problems"] == {}
        config = json.loads((tmp_path / "hf" / name / "generation_config.json").read_text())
        ends = config["eos_token_id"] if isinstance(config["eos_token_id"], list) else [config["eos_token_id"]]
        start = model.preprocessor.tokenizer.start_token_id
        largest[name] = compare(model, found[name], TEXTS, ends, starts_with=() if start is None else (int(start),))
    print(json.dumps(largest, indent=1))
    assert max(largest.values()) < 1e-4


def test_smollm2(ask_transformers, tmp_path):
    """Loaded, exported, and computed by transformers from the export."""
    source = os.environ.get("SMOLLM2_FOLDER")
    if not source:
        pytest.skip("SMOLLM2_FOLDER must be a folder with SmolLM2-135M-Instruct in Hugging Face's layout")
    model = load_model(source)
    folder = tmp_path / "hf"
    export_hugging_face(model, source, str(folder))
    chat = [{"role": "user", "content": "What is the opposite of hot?"}]
    request = {"texts": [*TEXTS, "<|im_start|>user\nName a colour.<|im_end|>\n<|im_start|>assistant\n"], "chat": chat}
    (folder / "request.json").write_text(json.dumps(request | {"num_new_tokens": NUM_NEW_TOKENS}))
    found = ask_transformers([folder], tmp_path / "out.json")["hf"]
    assert found["problems"] == {}
    difference = compare(model, found, request["texts"], [2])
    print(
        json.dumps(
            {"largest difference of a logit": difference, "completions": [t["completion"] for t in found["texts"]]}
        )
    )
    assert difference < 1e-4
    assert found["chat"].endswith("<|im_start|>user\nWhat is the opposite of hot?<|im_end|>\n<|im_start|>assistant\n")
    del model
    gc.collect()
