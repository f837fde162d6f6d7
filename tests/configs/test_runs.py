"""Every committed run is complete and valid."""

from pathlib import Path

import pytest

from configs.load import load_runner, read_yaml
from configs.schema import RunConfig
from pipeline.validate import load_config

ROOT = Path(__file__).resolve().parents[2]
RUNS = sorted((ROOT / "configs" / "runs").glob("*.yaml"))


@pytest.fixture(autouse=True)
def at_repository_root(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize("path", RUNS, ids=lambda p: p.stem)
def test_run(path):
    config = load_config(str(path))
    assert path.stem.endswith(config.method.name)
    raw = read_yaml(str(path))
    # Complete: a reader of the file sees every key there is.
    for name, field in RunConfig.model_fields.items():
        if name != "method":
            assert set(raw[name]) == set(field.annotation.model_fields), name


def test_there_are_runs():
    assert {p.stem for p in RUNS} >= {"tiny_gpt2_en_lora", "tiny_gpt2_en_full"}


def test_runners():
    for path in (ROOT / "configs" / "runners").glob("*.yaml"):
        runner = load_runner(str(path))
        assert runner.kind == path.stem
        # Complete: a reader of the file sees every key there is.
        assert set(read_yaml(str(path))) == set(type(runner).model_fields)
