import json

from tfx.types import standard_artifacts

from components.preset_exporter.component import PresetExporter
from components.preset_exporter.executor import Executor

MODEL = {"preset": "tiny", "dtype": "float32"}
TEXT = {"template": "alpaca", "system": "", "max_length": 64}
GENERATION = {"max_new_tokens": 8}


def test_component_keeps_each_section_as_json():
    component = PresetExporter(MODEL, TEXT, GENERATION, preset_hash="p", code_hash="c")
    assert json.loads(component.exec_properties["model_section"]) == MODEL
    assert json.loads(component.exec_properties["text"]) == TEXT
    assert json.loads(component.exec_properties["generation"]) == GENERATION
    assert component.exec_properties["preset_hash"] == "p"
    assert component.outputs["model"].type is standard_artifacts.Model


def test_executor_exports_the_preset_where_a_trainer_would(tmp_path, monkeypatch):
    calls = {}
    monkeypatch.setattr(
        "components.trainer.model.load_model", lambda preset, dtype, seed: calls.setdefault("load", (preset, dtype))
    )
    monkeypatch.setattr(
        "components.trainer.export.export_model",
        lambda model, directory, text, generation, preset: calls.update(
            export=(model, directory, text, generation, preset)
        ),
    )
    artifact = standard_artifacts.Model()
    artifact.uri = str(tmp_path)
    properties = PresetExporter(MODEL, TEXT, GENERATION, preset_hash="p", code_hash="c").exec_properties
    Executor().Do({}, {"model": [artifact]}, dict(properties))
    directory = str(tmp_path / "Format-Serving")
    assert calls == {"load": ("tiny", "float32"), "export": (("tiny", "float32"), directory, TEXT, GENERATION, "tiny")}
    assert artifact.get_string_custom_property("preset") == "tiny"
    assert artifact.get_string_custom_property("preset_hash") == "p"
