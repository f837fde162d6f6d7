"""Which model the words of `export` mean."""

import pytest

from components.errors import UserError
from pipeline.export_source import find_source


def no_store():
    raise UserError("there is no store")


def write_model(folder):
    for name in ("preset/config.json", "Format-Serving/saved_model.pb"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")
    return folder


@pytest.mark.parametrize(
    ("text", "name"),
    [("hf://a/b-c@main", "a-b-c-main"), ("gpt2_base_en", "gpt2_base_en"), ("kaggle://x/y/z", "x-y-z")],
)
def test_handles_and_built_in_names(text, name):
    source = find_source(text, None, no_store)
    assert (source.preset, source.name, source.saved_model, source.trace) == (text, name, None, None)


def test_a_presets_folder(tmp_path):
    write_model(tmp_path / "model")
    source = find_source(str(tmp_path / "model" / "preset"), None, no_store)
    assert (source.preset, source.saved_model) == (str(tmp_path / "model" / "preset"), None)


def test_a_models_folder_that_no_store_knows(tmp_path):
    folder = write_model(tmp_path / "model")
    source = find_source(str(folder), None, no_store)
    assert (source.preset, source.saved_model) == (str(folder / "preset"), str(folder / "Format-Serving"))
    assert (source.name, source.trace) == ("model", None)


def test_anything_else_is_asked_of_the_store():
    for text in (None, "20261130-101500-000000", "42", "3f9a12"):
        with pytest.raises(UserError, match="there is no store"):
            find_source(text, None, no_store)
