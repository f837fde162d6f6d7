"""The executor that trains in a custom job, against a local server."""

import json

import pytest
from tfx.extensions.google_cloud_ai_platform import training_clients
from tfx.scripts import run_executor
from tfx.types import artifact_utils, standard_artifacts
from tfx.utils import import_utils

from components.trainer.executor import Executor
from components.trainer.vertex_executor import VertexExecutor

RECORD = {"method": {"name": "lora"}, "eval_loss_after": 2.5, "steps": 7, "preset": "p", "stopped_early": True}


@pytest.fixture
def jobs(vertex, monkeypatch):
    """The server; TFX makes the real client, of which it lets only the region be chosen, for the server's address."""
    from google.cloud.aiplatform_v1 import JobServiceClient

    def create_client(client):
        assert client._region == "europe-west4"
        client._client = JobServiceClient(client_options={"api_endpoint": vertex.host}, transport="rest")

    monkeypatch.setattr(training_clients.VertexJobClient, "create_client", create_client)
    return vertex


@pytest.fixture
def model(tmp_path):
    artifact = standard_artifacts.Model()
    artifact.uri = str(tmp_path / "model")
    (tmp_path / "model").mkdir()
    return artifact


def train(model, **train_section):
    examples = standard_artifacts.Examples()
    examples.uri = "gs://my-bucket/examples"
    examples.split_names = '["train", "eval"]'
    pools = [
        {
            "machine_spec": {"machine_type": "g2-standard-12", "accelerator_type": "NVIDIA_L4", "accelerator_count": 1},
            "replica_count": count,
            "container_spec": {"image_uri": "registry/image:1", "env": [{"name": "A", "value": "1"}]},
        }
        for count in (1, 2)
    ]
    job = {
        "project": "my-project",
        "display_name": "tiny",
        "labels": {"team": "x"},
        "job_spec": {"worker_pool_specs": pools},
    }
    config = {
        "train": train_section,
        "ai_platform_enable_vertex": True,
        "ai_platform_vertex_region": "europe-west4",
        "ai_platform_training_args": job,
    }
    properties = {"module_path": "components.trainer.module", "custom_config": json.dumps(config)}
    VertexExecutor().Do({"examples": [examples]}, {"model": [model]}, properties)
    return examples, properties


def test_the_job_runs_our_executor_and_its_record_is_read(jobs, model, tmp_path):
    (tmp_path / "model" / "training_record.json").write_text(json.dumps(RECORD | {"history": [1]}))
    examples, properties = train(model, epochs=2)
    (request,) = jobs.list_requests("POST", "/customJobs")
    assert request.path == "/v1/projects/my-project/locations/europe-west4/customJobs"
    assert request.body["displayName"] == "tiny"
    assert request.body["labels"]["team"] == "x"
    pools = request.body["jobSpec"]["workerPoolSpecs"]
    assert [pool["replicaCount"] for pool in pools] == ["1", "2"]
    assert [pool["machineSpec"]["machineType"] for pool in pools] == ["g2-standard-12"] * 2
    # Each container's command is one that TFX's script understands, with the inputs and properties of the node.
    for pool in pools:
        container = pool["containerSpec"]
        assert (container["imageUri"], container["env"]) == ("registry/image:1", [{"name": "A", "value": "1"}])
        assert container["command"][:3] == ["python", "-m", "tfx.scripts.run_executor"]
        arguments, rest = run_executor.parse_flags(container["command"][2:])
        assert rest == ["tfx.scripts.run_executor"]  # where the name of the program stands
        assert import_utils.import_class_by_path(arguments.executor_class_path) is Executor
        assert json.loads(arguments.exec_properties) == properties
        (given,) = artifact_utils.parse_artifact_dict(arguments.inputs)["examples"]
        assert (given.uri, given.split_names) == (examples.uri, examples.split_names)
        (output,) = artifact_utils.parse_artifact_dict(arguments.outputs)["model"]
        assert output.uri == model.uri
    assert model.get_string_custom_property("method") == "lora"
    assert model.get_float_custom_property("eval_loss_after") == 2.5
    assert (model.get_int_custom_property("steps"), model.get_int_custom_property("stopped_early")) == (7, 1)


def test_a_failed_job_is_an_error_with_its_reason(jobs, model, tmp_path):
    (tmp_path / "model" / "training_record.json").write_text(json.dumps(RECORD))  # of an attempt before
    jobs.custom_job_state = "JOB_STATE_FAILED"
    with pytest.raises(RuntimeError, match="the machine ran out of memory"):
        train(model)
    assert not model.has_custom_property("steps")


def test_a_job_without_a_record_is_an_error(jobs, model):
    with pytest.raises(FileNotFoundError, match=r"model/training_record\.json"):
        train(model)
