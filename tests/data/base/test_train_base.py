import argparse
import json
import math
from pathlib import Path

import numpy as np
import pytest

from data.base.bpe import END_TOKEN, train_bpe

keras_hub = pytest.importorskip("keras_hub")

from data.base import train_base  # noqa: E402
from data.base.evaluate_base import measure_held_out, measure_unigram  # noqa: E402
from data.base.export import replace_folder  # noqa: E402

SENTENCES = [
    "The lamp was lit, and the old man sat down to write a letter to his sister in the town.",
    "She had not heard of him for a year, and the letter, when it came, was a very short one.",
    "It said that he was well; that the garden was well; and that he would come in the spring.",
    '"He says nothing of the dog," said she, and put the letter into the box with the others; and there it lay, under all that '
    "came after it, until the spring.",
]


@pytest.fixture
def options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> argparse.Namespace:
    """A run of six steps of a very small model on a very small corpus."""

    def build_tiny(dtype: str):
        return keras_hub.models.GPT2Backbone(
            vocabulary_size=400,
            num_layers=1,
            num_heads=2,
            hidden_dim=8,
            intermediate_dim=16,
            dropout=0.0,
            max_sequence_length=32,
            dtype=dtype,
        )

    monkeypatch.setattr(train_base, "build_backbone", build_tiny)
    monkeypatch.setattr(train_base, "VOCABULARY_SIZE", 400)
    monkeypatch.setattr(train_base, "MAX_SEQUENCE_LENGTH", 32)
    monkeypatch.setattr(train_base, "SHORT_LENGTH", 16)
    monkeypatch.setattr(train_base, "LOG_EVERY_SECONDS", 0.0)
    (tmp_path / "book.txt").write_text("\n".join(SENTENCES * 30), encoding="utf-8")
    return train_base.make_parser().parse_args(
        f"--corpus {tmp_path}/book.txt --output {tmp_path}/preset --work {tmp_path}/work "
        "--steps 6 --batch-tokens 64 --dtype float32".split()
    )


def load_weights(preset: Path) -> list[np.ndarray]:
    return keras_hub.models.CausalLM.from_preset(str(preset)).get_weights()


def test_killed_run_goes_on_and_ends_at_the_same_weights(
    options: argparse.Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    train_base.train(options)
    whole = load_weights(options.output)
    assert "start 1 at step 0" in capsys.readouterr().out

    options.output, options.work = tmp_path / "preset2", tmp_path / "work2"
    make_train_step = train_base.make_train_step

    def make_dying_step(*arguments):
        step, calls = make_train_step(*arguments), iter(range(3))

        def dying_step(window):
            next(calls)  # StopIteration at the fourth call: as good as a kill
            return step(window)

        return dying_step

    with monkeypatch.context() as patch:
        patch.setattr(train_base, "make_train_step", make_dying_step)
        with pytest.raises(StopIteration):
            train_base.train(options)
    assert not options.output.exists()
    train_base.train(options)
    assert "start 2 at step 3" in capsys.readouterr().out
    for left, right in zip(whole, load_weights(options.output), strict=True):
        np.testing.assert_allclose(left, right, rtol=0, atol=2e-4)

    record = json.loads((options.output / "training.json").read_text())
    assert (record["steps"], record["starts"]) == (6, 2)
    assert record["tokens_seen"] == 6 * 64
    assert record["held_out_bytes"] > 0
    assert record["corpus"][0]["name"].endswith("/book")
    assert record["held_out_perplexity"] == pytest.approx(math.exp(record["held_out_loss"]))


def test_checkpoint_of_another_run_is_refused(options: argparse.Namespace) -> None:
    options.steps = 1
    train_base.train(options)
    weights = (options.output / "model.weights.h5").read_bytes()
    options.seed = 1
    with pytest.raises(ValueError, match=r"checkpoint.npz' is the checkpoint of a run with another .* seed"):
        train_base.train(options)
    assert (options.output / "model.weights.h5").read_bytes() == weights


def test_new_export_replaces_the_whole_preset(options: argparse.Namespace) -> None:
    options.steps = 1
    options.output.mkdir()
    (options.output / "stale").write_text("of an older export")
    train_base.train(options)
    assert not (options.output / "stale").exists()
    assert (options.output / "model.weights.h5").exists()
    assert "--steps 1 " in (options.output / "README.md").read_text()
    assert not [path for path in options.output.parent.iterdir() if path.name.startswith(".preset")]


def test_replace_folder_swaps_the_whole_folder(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "a").touch()
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "b").touch()
    replace_folder(tmp_path / "new", tmp_path / "old")
    assert [path.name for path in tmp_path.rglob("*")] == ["old", "b"]


def test_learning_rate_warms_up_then_falls_to_a_twentieth() -> None:
    rates = [train_base.get_learning_rate(1.0, progress / 1000) for progress in range(1001)]
    peak = int(np.argmax(rates))
    assert peak == 20 and rates[peak] == pytest.approx(1.0)
    assert all(np.diff(rates[:20]) > 0) and all(np.diff(rates[20:]) < 0)
    assert 0 < rates[0] < 0.01
    assert rates[-1] == pytest.approx(0.05)


def test_one_budget_is_required(capsys: pytest.CaptureFixture[str]) -> None:
    for budget in ([], ["--minutes", "1", "--steps", "1"]):
        with pytest.raises(SystemExit):
            train_base.make_parser().parse_args(["--corpus", "x", *budget])
    assert "--minutes" in capsys.readouterr().err


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00:00"), (59.6, "0:01:00"), (3661, "1:01:01"), (-3, "0:00:00")])
def test_format_duration(seconds: float, text: str) -> None:
    assert train_base.format_duration(seconds) == text


def test_vocabulary_is_laid_out_like_that_of_gpt2() -> None:
    vocabulary, merges = train_bpe(SENTENCES, 320)
    assert list(vocabulary.values()) == list(range(320))
    assert vocabulary["!"] == 0 and vocabulary[END_TOKEN] == 319
    assert len(merges) == 320 - 256 - 1
    assert all(left + right in vocabulary for left, right in (merge.split(" ") for merge in merges))


def test_held_out_figures_by_hand(tmp_path: Path) -> None:
    """A model with all weights zero predicts every token alike: its perplexity is the size of the vocabulary."""
    from data.base.corpus import Book

    vocabulary, merges = train_bpe(SENTENCES, 300)
    tokenizer = keras_hub.tokenizers.GPT2Tokenizer(vocabulary=vocabulary, merges=merges)
    backbone = keras_hub.models.GPT2Backbone(
        vocabulary_size=300, num_layers=1, num_heads=1, hidden_dim=4, intermediate_dim=4, max_sequence_length=8
    )
    backbone.set_weights([np.zeros_like(weight) for weight in backbone.get_weights()])
    book = Book(name="book", sha256="", train=SENTENCES[:2], held_out=SENTENCES[2:])
    figures = measure_held_out(backbone, tokenizer, [book, book])
    text = "\n".join(SENTENCES[2:])
    assert figures["held_out_tokens"] == 2 * len(tokenizer(text))
    assert figures["held_out_bytes"] == 2 * len(text)
    assert figures["held_out_perplexity"] == pytest.approx(300, rel=1e-4)
    expected_bits = figures["held_out_tokens"] * math.log2(300) / figures["held_out_bytes"]
    assert figures["held_out_bits_per_byte"] == pytest.approx(expected_bits, rel=1e-4)
    assert measure_unigram(tokenizer, [book])["unigram_perplexity"] < 300


def test_held_out_needs_text() -> None:
    from data.base.corpus import Book

    class Backbone:
        max_sequence_length = 8

    with pytest.raises(ValueError, match="no held-out text"):
        measure_held_out(Backbone(), None, [Book(name="b", sha256="", train=["x"], held_out=[])])
