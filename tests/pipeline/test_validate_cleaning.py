"""Checks of the `token_cleaning` section."""

import json
from pathlib import Path

import pytest

from configs.load import ConfigError
from pipeline.validate import load_config


def write_preset(folder: Path, vocabulary_size: int = 8, max_sequence_length: int = 64, vocabulary: str = "{}"):
    (folder / "assets" / "tokenizer").mkdir(parents=True)
    (folder / "assets" / "tokenizer" / "vocabulary.json").write_text(vocabulary)
    for name in ("tokenizer.json", "model.weights.h5"):
        (folder / name).write_text("")
    numbers = {"vocabulary_size": vocabulary_size, "max_sequence_length": max_sequence_length}
    (folder / "config.json").write_text(json.dumps({"config": numbers}))


@pytest.fixture
def find_problems(tmp_path, monkeypatch):
    """Returns a function from a `token_cleaning` section (and others) to the problems by key."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "records.jsonl").write_text("{}\n")
    write_preset(tmp_path / "base")

    def find(cleaning, **sections):
        config = {
            "pipeline": {"name": "a"},
            "data": {"path": "records.jsonl"},
            "text": {"max_length": 64},
            "model": {"preset": "base"},
            "method": {"name": "lora"},
            "evaluation": {"thresholds": [{"metric": "perplexity", "upper_bound": 10.0}]},
            "token_cleaning": cleaning,
            **sections,
        }
        (tmp_path / "run.yaml").write_text(json.dumps(config))
        try:
            load_config("run.yaml")
        except ConfigError as error:
            return {p.key: p.message for p in error.problems}
        return {}

    return find


@pytest.mark.parametrize("strategy", ["none", "random", "fixed", "self_evolving"])
def test_every_strategy_is_valid_by_itself(find_problems, strategy):
    assert find_problems({"strategy": strategy}) == {}


@pytest.mark.parametrize("keep", [0, -0.1, 1.01, "most", None])
def test_keep_is_a_share(find_problems, keep):
    assert list(find_problems({"strategy": "random", "keep": keep})) == ["token_cleaning.keep"]


@pytest.mark.parametrize("keep", [1, 1.0, 0.001])
def test_a_share_may_be_all(find_problems, keep):
    assert find_problems({"strategy": "random", "keep": keep}) == {}


def test_problems_come_together(find_problems):
    cleaning = {
        "strategy": "fixd",
        "scope": "batch",
        "parts": 1,
        "reference": {"warmup_share": 1, "train": {"epochs": 0}, "prest": "x"},
    }
    assert set(find_problems(cleaning)) == {
        "token_cleaning.strategy",
        "token_cleaning.scope",
        "token_cleaning.parts",
        "token_cleaning.reference.warmup_share",
        "token_cleaning.reference.train.epochs",
        "token_cleaning.reference.prest",
    }


def test_the_references_own_method_and_training(find_problems):
    reference = {"method": {"name": "lora", "rnk": 4}, "train": {"backend": "jax", "strategy": "tpu"}}
    problems = find_problems({"strategy": "fixed", "reference": reference})
    assert "Did you mean `rank`?" in problems["token_cleaning.reference.method.rnk"]
    assert "data_parallel" in problems["token_cleaning.reference.train.strategy"]
    full = {"method": {"name": "full"}}
    problems = find_problems({"strategy": "fixed", "reference": full}, model={"preset": "base", "dtype": "bfloat16"})
    assert "(token_cleaning.reference.method)" in problems["model.dtype"]
    # What the strategy does not use is not complained about.
    assert find_problems({"strategy": "random", "reference": reference}) == {}


def test_a_reference_must_be_a_preset_of_the_same_tokens(find_problems, tmp_path):
    def problem(name):
        return find_problems({"strategy": "fixed", "reference": {"preset": name}}).get(
            "token_cleaning.reference.preset"
        )

    assert "Did you mean `base`?" in problem("./bases")
    write_preset(tmp_path / "same")
    write_preset(tmp_path / "larger", vocabulary_size=9)
    write_preset(tmp_path / "other", vocabulary='{"a": 0}')
    write_preset(tmp_path / "short", max_sequence_length=32)
    assert problem("same") is None
    assert "9 tokens in larger, 8 in base" in problem("larger")
    assert "must have the tokenizer of model.preset" in problem("other")
    assert "text.max_length (64)" in problem("short")
    # A handle is compared when it has been loaded.
    assert problem("hf://someone/something") is None


def test_every_round_needs_a_step(find_problems):
    cleaning = {"strategy": "self_evolving", "parts": 4}
    assert "one step a round" in find_problems(cleaning, train={"max_steps": 3})["train.max_steps"]
    assert find_problems(cleaning, train={"max_steps": 4}) == {}
