"""Inputs on which a fuzzer found something, and those that it begins with: none of them may fail again."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import fuzz_targets

from components.example_gen.ingest import IngestFile

HERE = Path(__file__).parent
_MOST_SEEDS = 60


@pytest.fixture(scope="module", params=fuzz_targets.TARGETS)
def opened(request: pytest.FixtureRequest) -> Iterator[tuple[str, object]]:
    with fuzz_targets.open_target(request.param) as target:
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
    assert {path.name for path in (HERE / "cases").iterdir()} == set(fuzz_targets.TARGETS)


# --- A target must be able to fail


def test_records_that_are_lost_are_told(tmp_path, monkeypatch):
    target = fuzz_targets.Records(tmp_path)
    seed = next(target.list_seeds())
    process = IngestFile.process
    monkeypatch.setattr(IngestFile, "process", lambda self, file: list(process(self, file))[1:])
    with pytest.raises(AssertionError):
        target(seed)


def test_control_characters_on_the_console_are_told(tmp_path, monkeypatch):
    target = fuzz_targets.Lineage(tmp_path)
    monkeypatch.setattr("pipeline.cli_options.make_harmless", lambda text: text)
    with pytest.raises(AssertionError, match="x07"):
        target(bytes([0]) + b"a\0\x07")
