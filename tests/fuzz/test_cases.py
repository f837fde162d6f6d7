"""Inputs on which a fuzzer found something, and those that it begins with: none of them may fail again."""

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
_MOST_SEEDS = 60


def load_targets():
    # Tests have no package that they could import from.
    spec = importlib.util.spec_from_file_location("fuzz_targets", HERE / "targets.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


targets = load_targets()


@pytest.fixture(scope="module", params=targets.TARGETS)
def opened(request: pytest.FixtureRequest) -> Iterator[tuple[str, object]]:
    with targets.open_target(request.param) as target:
        yield request.param, target


def test_seeds(opened):
    _, target = opened
    seeds = list(target.list_seeds())
    assert len(seeds) >= 4
    for seed in seeds[:: 1 + len(seeds) // _MOST_SEEDS]:
        target(seed)
    assert len(target.list_words()) > 10


def test_cases(opened):
    name, target = opened
    for path in sorted((HERE / "cases" / name).iterdir()):
        target(path.read_bytes())


def test_every_case_belongs_to_a_target():
    assert {path.name for path in (HERE / "cases").iterdir()} == set(targets.TARGETS)


# --- A target must be able to fail


def test_records_that_are_lost_are_told(tmp_path, monkeypatch):
    target = targets.Records(tmp_path)
    seed = next(target.list_seeds())
    process = targets.IngestFile.process
    monkeypatch.setattr(targets.IngestFile, "process", lambda self, file: list(process(self, file))[1:])
    with pytest.raises(AssertionError):
        target(seed)


def test_control_characters_on_the_console_are_told(tmp_path, monkeypatch):
    target = targets.Lineage(tmp_path)
    monkeypatch.setattr("pipeline.cli_options.make_harmless", lambda text: text)
    with pytest.raises(AssertionError, match="x07"):
        target(bytes([0]) + b"a\0\x07")
