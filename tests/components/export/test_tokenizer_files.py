"""The tokenizer's files: the publisher's byte for byte, or made from the tokenizer that the model has."""

import json
from types import SimpleNamespace

import pytest
from tokenizers import Tokenizer, models

from components.export.hugging_face.tokenizer_files import write_tokenizer


def make_tokenizer(**options):
    """What the writer uses of KerasHub's byte-pair tokenizer."""
    vocabulary = {"<s>": 0, "a": 1, "b": 2, "ab": 3}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[("a", "b")]))
    backend.add_special_tokens(["<s>"])

    def save_assets(folder):
        for name, content in (("vocabulary.json", json.dumps(vocabulary)), ("merges.txt", "a b\n"), ("other", "")):
            with open(f"{folder}/{name}", "w", encoding="utf-8") as file:
                file.write(content)

    facts = {"start_token": "<s>", "start_token_id": 0, "end_token": "<s>", "end_token_id": 0}
    return SimpleNamespace(_tokenizer=backend, save_assets=save_assets, **(facts | options))


def write(tokenizer, tmp_path, files=None, chat_template=None):
    source, folder = tmp_path / "publisher", tmp_path / "hf"
    for path in (source, folder):
        path.mkdir()
    for name, content in (files or {}).items():
        (source / name).write_text(content)
    write_tokenizer(tokenizer, folder, lambda name: path if (path := source / name).is_file() else None, chat_template)
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_the_publishers_files_are_copied(tmp_path):
    files = {
        "tokenizer.json": '{"any": "thing"}',
        "tokenizer_config.json": "{}",
        "chat_template.jinja": "{{ x }}",
        "tokenizer.model": "proto",
        "special_tokens_map.json": "{}",
    }
    assert write(make_tokenizer(), tmp_path, files | {"config.json": "{}", "model.safetensors": ""}) == files


def test_without_them_they_are_made(tmp_path):
    written = write(make_tokenizer(), tmp_path)
    assert set(written) == {"tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt"}
    found = Tokenizer.from_str(written["tokenizer.json"])
    # With the start token that the model was trained with.
    assert found.encode("ab").ids == [0, 3]
    assert found.encode("ab", add_special_tokens=False).ids == [3]
    assert found.encode("a", "b").ids == [0, 1, 2]
    config = json.loads(written["tokenizer_config.json"])
    assert (config["bos_token"], config["eos_token"], config["pad_token"]) == ("<s>", "<s>", "<s>")
    assert config["model_input_names"] == ["input_ids", "attention_mask"]


def test_no_start_token(tmp_path):
    written = write(make_tokenizer(start_token=None, start_token_id=None, end_token=None), tmp_path)
    assert Tokenizer.from_str(written["tokenizer.json"]).encode("ab").ids == [3]
    assert not {"bos_token", "eos_token", "pad_token"} & set(json.loads(written["tokenizer_config.json"]))


@pytest.mark.parametrize(
    ("files", "made"),
    [
        ({"tokenizer.json": "{}"}, {"tokenizer_config.json"}),
        ({"tokenizer.model": "proto"}, {"tokenizer.json", "tokenizer_config.json"}),
        ({"tokenizer.model": "proto", "tokenizer_config.json": "{}"}, {"tokenizer.json"}),
    ],
)
def test_what_is_missing_is_added(files, made, tmp_path):
    written = write(make_tokenizer(), tmp_path, files)
    assert set(written) == set(files) | made
    assert {name: written[name] for name in files} == files


def test_another_chat_template_takes_the_place_of_the_publishers(tmp_path):
    files = {
        "tokenizer.json": "{}",
        "tokenizer_config.json": json.dumps({"chat_template": "old", "bos_token": "<s>"}),
        "chat_template.json": "old",
    }
    written = write(make_tokenizer(), tmp_path, files, "{{ new }}")
    assert written["chat_template.jinja"] == "{{ new }}"
    assert json.loads(written["tokenizer_config.json"]) == {"bos_token": "<s>"}
    assert "chat_template.json" not in written
