import json

import pytest

from components.presets.side_files import SIDE_FOLDER, find_side_file, is_hugging_face_folder

HUGGING_FACE = {"model_type": "llama", "hidden_size": 16}
KERAS = {"module": "keras_hub.src.models.llama3.llama3_backbone", "class_name": "Llama3Backbone"}
KERAS |= {"config": {"model_type": "x"}, "registered_name": "keras_hub>Llama3Backbone"}


@pytest.fixture
def make_folder(tmp_path):
    def make(config, names):
        (tmp_path / "config.json").write_text(json.dumps(config))
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(name)
        return tmp_path

    return make


def test_a_hugging_face_folder_has_its_files_itself(make_folder):
    folder = make_folder(HUGGING_FACE, ["tokenizer.json"])
    assert is_hugging_face_folder(folder)
    assert find_side_file(str(folder), "tokenizer.json") == folder / "tokenizer.json"
    assert find_side_file(folder, "chat_template.jinja") is None


def test_a_keras_preset_keeps_them_apart(make_folder):
    folder = make_folder(KERAS, ["tokenizer.json", f"{SIDE_FOLDER}/tokenizer.json"])
    assert not is_hugging_face_folder(folder)
    assert find_side_file(folder, "tokenizer.json").read_text() == f"{SIDE_FOLDER}/tokenizer.json"


def test_the_tokenizer_of_keras_is_not_the_publishers(make_folder):
    assert find_side_file(make_folder(KERAS, ["tokenizer.json"]), "tokenizer.json") is None


@pytest.mark.parametrize("text", ["[1]", "no json", '{"model_type": "llama"', "\xff"])
def test_what_is_no_configuration_is_no_hugging_face_folder(tmp_path, text):
    (tmp_path / "config.json").write_bytes(text.encode("latin-1"))
    assert not is_hugging_face_folder(tmp_path)
    assert find_side_file(tmp_path, "tokenizer.json") is None


def test_a_folder_that_is_not_there_has_no_files(tmp_path):
    assert find_side_file(tmp_path / "none", "tokenizer.json") is None
