"""`export` writes a model in each format, and nothing where the proof fails."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from components.errors import UserError
from pipeline.cli import main
from pipeline.export_command import Wish, find_dtype, run_export
from pipeline.export_source import Source

ROOT = Path(__file__).resolve().parents[2]
BASE = str(ROOT / "data" / "base" / "tiny_gpt2_en")


def export(source, tmp_path, **wish):
    told = []
    run_export(source, Wish(output=tmp_path / "out", **wish), told.append)
    return tmp_path / "out", told


def test_for_transformers(tmp_path):
    arguments = ["export", BASE, "--format", "hf", "--dtype", "bfloat16", "--root", str(tmp_path)]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    folder = tmp_path / "exports" / "tiny_gpt2_en-hf"
    assert f"Wrote {folder}" in result.output
    assert json.loads((folder / "config.json").read_text())["torch_dtype"] == "bfloat16"
    rules = json.loads((folder / "tokenizer.json").read_text())
    # The base was trained on texts that begin with this token.
    assert rules["post_processor"]["special_tokens"]["<|endoftext|>"]["ids"] == [4095]
    assert (folder / "README.md").read_text().startswith("---\nlibrary_name: transformers\n")
    again = CliRunner().invoke(main, arguments)
    assert (again.exit_code, "which holds something" in again.output) == (1, True)


def test_as_a_preset_in_another_precision(tmp_path):
    folder, _ = export(Source(name="base", preset=BASE), tmp_path, format_name="keras", dtype="bfloat16")
    assert find_dtype(str(folder)) == "bfloat16"
    from components.trainer.model import load_model

    model = load_model(str(folder), "bfloat16")
    assert {str(np.array(weight).dtype) for weight in model.weights} == {"bfloat16"}


def test_a_saved_model_that_is_there_is_copied(tmp_path):
    saved = tmp_path / "model" / "Format-Serving"
    saved.mkdir(parents=True)
    (saved / "saved_model.pb").write_text("x")
    source = Source(name="m", preset="nowhere", saved_model=str(saved))
    folder, told = export(source, tmp_path, format_name="savedmodel")
    assert [path.name for path in folder.iterdir()] == ["saved_model.pb"]
    assert told == ["Copying ..."]


def test_what_was_not_proved_is_not_there(tmp_path, monkeypatch):
    from components.trainer import hugging_face

    def fail(folder, *_args):
        assert (Path(folder) / "model.safetensors").is_file()
        assert not (tmp_path / "out").exists(), "a process that is killed now leaves a model that looks whole"
        raise hugging_face.HuggingFaceMismatchError("differs")

    monkeypatch.setattr(hugging_face, "verify_hugging_face", fail)
    with pytest.raises(hugging_face.HuggingFaceMismatchError):
        export(Source(name="base", preset=BASE), tmp_path, format_name="hf")
    assert not (tmp_path / "out").exists()


def test_a_family_without_a_writer_is_told_before_anything_is_loaded(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"class_name": "OPTBackbone"}))
    told = []
    with pytest.raises(UserError, match=r"Gemma, Gemma 2, .* Received: OPTBackbone"):
        run_export(Source(name="x", preset=str(tmp_path)), Wish(format_name="hf", output=tmp_path / "out"), told.append)
    assert told == []


def test_a_preset_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="nowhere"):
        export(Source(name="x", preset=str(tmp_path / "nowhere")), tmp_path, format_name="hf")


@pytest.mark.parametrize(
    ("config", "dtype"),
    [
        ({"config": {"dtype": {"config": {"name": "bfloat16"}}}}, "bfloat16"),
        ({"config": {"dtype": {"config": {"name": "mixed_bfloat16"}}}}, "float32"),
        ({"config": {"dtype": "float16"}}, "float16"),
        ({"model_type": "llama", "torch_dtype": "bfloat16"}, "bfloat16"),
        ({"model_type": "llama", "dtype": "bfloat16"}, "bfloat16"),
        ({"model_type": "llama"}, "float32"),
    ],
)
def test_the_dtype_of_a_preset(config, dtype, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert find_dtype(str(tmp_path)) == dtype
