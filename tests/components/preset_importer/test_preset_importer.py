"""The artifact that names a preset: what it holds, and that it answers as the preset's export does."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tfx.types import standard_artifacts

from components.errors import UserError
from components.predictor.executor import list_differences
from components.preset_importer.component import PresetImporter
from components.preset_importer.executor import Executor
from components.trainer import model as trainer_model
from components.trainer import signatures
from components.trainer.export import export_model
from components.trainer.model import load_model
from components.trainer.model_card import read_card
from components.trainer.served_functions import load_functions

PRESET = "data/base/tiny_gpt2_en"
MODEL = {"preset": PRESET, "dtype": "float32"}
TEXT = {"template": "alpaca", "system": "", "max_length": 64}
GENERATION = {"max_new_tokens": 4}


def run_node(folder, text=TEXT, generation=GENERATION, model=MODEL):
    artifact = standard_artifacts.Model()
    artifact.uri = str(folder)
    properties = PresetImporter(model, text, generation, preset_hash="p", code_hash="c").exec_properties
    Executor().Do({}, {"model": [artifact]}, dict(properties))
    return artifact


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    return run_node(tmp_path_factory.mktemp("imported"))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    artifact = standard_artifacts.Model()
    artifact.uri = str(tmp_path_factory.mktemp("exported"))
    export_model(load_model(PRESET), f"{artifact.uri}/Format-Serving", TEXT, GENERATION, PRESET)
    return artifact


def test_component_keeps_each_section_as_json():
    component = PresetImporter(MODEL, TEXT, GENERATION, preset_hash="p", code_hash="c")
    assert json.loads(component.exec_properties["model_section"]) == MODEL
    assert json.loads(component.exec_properties["text"]) == TEXT
    assert json.loads(component.exec_properties["generation"]) == GENERATION
    assert component.exec_properties["preset_hash"] == "p"
    assert component.outputs["model"].type is standard_artifacts.Model


def test_the_artifact_names_the_preset_and_holds_no_weights(imported):
    assert [path.name for path in Path(imported.uri).iterdir()] == ["preset_reference.json"]
    assert imported.get_string_custom_property("preset") == PRESET
    assert imported.get_string_custom_property("preset_hash") == "p"


def test_its_card_is_that_of_the_export(imported, exported):
    assert read_card(imported.uri) == read_card(exported.uri)
    assert list_differences(imported, exported) == []


def test_its_answers_are_those_of_the_export(imported, exported):
    example = tf.train.Example()
    example.features.feature["token_ids"].int64_list.value.extend(range(40, 60))
    example.features.feature["target_mask"].int64_list.value.extend([0] * 10 + [1] * 10)
    given, written = load_functions(imported.uri), load_functions(exported.uri)
    assert set(given) == set(written)
    arguments = {
        "evaluate": {"examples": tf.constant([example.SerializeToString()] * 2)},
        "score_text": {"prompt": tf.constant(["a"]), "continuation": tf.constant([" b"]), "end": tf.constant(True)},
        "serving_default": {"prompt": tf.constant(["Name a colour.", ""])},
    }
    for name, values in arguments.items():
        ours, theirs = (
            {key: value.numpy() for key, value in functions[name](**values).items()} for functions in (given, written)
        )
        assert ours.keys() == theirs.keys()
        for key, value in ours.items():
            if value.dtype == np.float32:
                np.testing.assert_allclose(value, theirs[key], rtol=1e-5)
            else:
                assert value.tolist() == theirs[key].tolist(), key


def test_only_what_is_called_is_traced(imported, monkeypatch):
    monkeypatch.setattr(signatures, "generate_tokens", None)
    example = tf.train.Example()
    for name in ("token_ids", "target_mask"):
        example.features.feature[name].int64_list.value.extend([1, 1, 1])
    scores = load_functions(imported.uri)["score"](examples=tf.constant([example.SerializeToString()]))
    assert scores["token_count"].numpy() == [2]


def test_all_positions_where_no_length_is_given(tmp_path):
    artifact = run_node(tmp_path, TEXT | {"max_length": None})
    reference = json.loads((tmp_path / "preset_reference.json").read_text())
    positions = load_model(PRESET).backbone.max_sequence_length
    assert reference["text"]["max_length"] == read_card(artifact.uri)["max_positions"] == positions


def test_lengths_that_do_not_fit_are_refused_at_once(tmp_path):
    with pytest.raises(UserError, match="text.max_length must be at most the"):
        run_node(tmp_path, TEXT | {"max_length": 100_000})


def test_a_preset_that_cannot_be_read(tmp_path):
    with pytest.raises(UserError, match="the configuration of .*nothing cannot be read"):
        run_node(tmp_path, model=MODEL | {"preset": str(tmp_path / "nothing")})


def test_positions_of_a_hugging_face_folder(tmp_path):
    config = {"model_type": "gpt2", "vocab_size": 8, "n_layer": 1, "n_head": 2, "n_embd": 4, "n_positions": 17}
    config |= {"resid_pdrop": 0.1, "n_inner": None, "layer_norm_epsilon": 1e-5}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert trainer_model.read_max_positions(str(tmp_path)) == 17
