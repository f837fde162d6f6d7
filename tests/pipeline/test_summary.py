"""The summary's pieces that need no run."""

import pytest

from pipeline import serving
from pipeline.summary import _drop_resume, _format, _leave_out_what_all_share, _pick_options, make_samples


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "-"), (float("nan"), "nan"), (float("inf"), "inf"), (12345.0, "12,345"), (0.123456, "0.1235"), (0.0, "0")],
)
def test_numbers(value, shown):
    assert _format(value) == shown


def test_place_options_are_handed_on():
    arguments = ["run.yaml", "--root", "a b", "--set", "x=1", "--runner=mine.yaml"]
    assert _pick_options(arguments, ("--runner", "--root")) == ["--root", "a b", "--runner=mine.yaml"]


def test_a_run_with_other_settings_does_not_go_on_with_an_old_one():
    for given in (["--resume"], ["--resume", "20261201-1"], ["--resume=20261201-1"]):
        assert _drop_resume(["run.yaml", *given, "--root", "a"]) == ["run.yaml", "--root", "a"]
    assert _drop_resume(["run.yaml", "--set", "x=1"]) == ["run.yaml", "--set", "x=1"]


def _write(path, *records):
    import tensorflow as tf

    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
        for record in records:
            example = tf.train.Example()
            for name, text in record.items():
                example.features.feature[name].bytes_list.value.append(text.encode())
            writer.write(example.SerializeToString())


def test_samples_are_what_the_model_was_evaluated_by(tmp_path, monkeypatch):
    monkeypatch.setattr(serving, "load_model", None)
    answers = [{"prompt": f"p{i}", "completion": f"c{i}", "response": f"r{i}"} for i in range(5)]
    _write(tmp_path / "predictions" / "predictions-00000-of-00001.gz", *answers)
    found = make_samples(str(tmp_path / "predictions"), "", "", "test")
    assert found == [{"prompt": f"p{i}", "completion": f"c{i}", "reference": f"r{i}"} for i in range(3)]


def test_the_model_is_asked_where_the_evaluation_needed_no_completions(tmp_path, monkeypatch):
    monkeypatch.setattr(serving, "load_model", lambda folder: folder.name)
    monkeypatch.setattr(
        serving, "generate", lambda model, prompts, signature: [f"{model} {signature} {text}" for text in prompts]
    )
    _write(tmp_path / "predictions" / "predictions-00000-of-00001.gz", {"prompt": "p", "response": "r"})
    _write(tmp_path / "tokenized" / "Split-test" / "examples.gz", {"prompt": "p", "response": "r"})
    found = make_samples(*(str(tmp_path / name) for name in ("predictions", "tokenized", "model")), "test")
    assert found == [{"prompt": "p", "completion": "Format-Serving complete p", "reference": "r"}]


def test_what_the_template_puts_around_all_prompts_is_left_out():
    frame = "<|system|>\nBe kind.\n<|user|>\n{}<|end|>\n<|assistant|>\n"
    prompts = [frame.format(text) for text in ("How are you?", "Who are you?")]
    assert _leave_out_what_all_share(prompts) == ["…\nHow are you?<|end|>\n…", "…\nWho are you?<|end|>\n…"]
    assert _leave_out_what_all_share(["a", "b"]) == ["a", "b"]
    assert _leave_out_what_all_share(["a\n", "a\n"]) == ["a\n", "a\n"]
    assert _leave_out_what_all_share(["a\n", "a\nb\n"]) == ["…\n…", "…\nb\n…"]
    assert _leave_out_what_all_share([]) == []
