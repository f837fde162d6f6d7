import json

import pytest
from tfx.components.trainer.executor import GenericExecutor
from tfx.components.util import udf_utils
from tfx.types import standard_artifacts

from components.trainer.executor import Executor, merge_parameters

PROPERTIES = {
    "custom_config": json.dumps({"train": {"learning_rate": 0.1, "epochs": 2}, "checkpoint_root": "${root}/c"})
}


def test_numbers_of_the_record_become_properties_of_the_model(tmp_path, monkeypatch):
    model = standard_artifacts.Model()
    model.uri = str(tmp_path)
    record = {"method": {"name": "lora"}, "eval_loss_after": 2.5, "steps": 7, "preset": "p", "stopped_early": True}

    def train(fn_args):
        assert fn_args == "arguments"
        (tmp_path / "training_record.json").write_text(json.dumps(record | {"history": []}))

    monkeypatch.setattr(GenericExecutor, "_GetFnArgs", lambda self, *arguments: "arguments")
    monkeypatch.setattr(udf_utils, "get_fn", lambda properties, name: train)
    Executor().Do({}, {"model": [model]}, PROPERTIES)
    assert model.get_string_custom_property("method") == "lora"
    assert model.get_string_custom_property("preset") == "p"
    assert model.get_float_custom_property("eval_loss_after") == 2.5
    assert model.get_int_custom_property("steps") == 7
    assert model.get_int_custom_property("stopped_early") == 1
    assert not model.has_custom_property("history")


def test_a_worker_that_is_not_the_chief_writes_no_model(tmp_path, monkeypatch):
    model = standard_artifacts.Model()
    model.uri = str(tmp_path)
    monkeypatch.setattr(GenericExecutor, "_GetFnArgs", lambda self, *arguments: "arguments")
    monkeypatch.setattr(udf_utils, "get_fn", lambda properties, name: lambda fn_args: None)
    cluster = {"worker": ["a:1", "b:1"]}
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": {"type": "worker", "index": 1}}))
    Executor().Do({}, {"model": [model]}, PROPERTIES)
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": {"type": "worker", "index": 0}}))
    with pytest.raises(FileNotFoundError):
        Executor().Do({}, {"model": [model]}, PROPERTIES)


def test_what_a_run_is_given_at_its_start_replaces_what_was_compiled():
    given = {"learning_rate": "0.5", "max_steps": "null", "seed": "", "root": "/here/"}
    config = json.loads(merge_parameters(PROPERTIES | given)["custom_config"])
    assert config == {
        "train": {"learning_rate": 0.5, "epochs": 2, "max_steps": None},
        "checkpoint_root": "/here/c",
    }
