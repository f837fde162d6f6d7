"""Fixtures of this folder; the servers that they start have modules of their own beside this one."""

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from ml_metadata.proto import metadata_store_pb2

from configs.runner_schema import KubeflowRunnerConfig
from pipeline.execution.run_record import write_run_record
from pipeline.specs.compiled_spec import CompiledSpec


def _load(name: str):
    # Tests have no package that they could import from.
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def kubeflow_server_class():
    _load("kubeflow_checks")
    return _load("kubeflow_server").KubeflowServer


@pytest.fixture
def kubeflow_server(kubeflow_server_class):
    """The API of Kubeflow Pipelines on a port of its own; a request that the real one would refuse fails the test."""
    with kubeflow_server_class() as server:
        yield server
    assert server.problems == []


@pytest.fixture(scope="session")
def read_kubeflow_cron():
    """Reads a cron expression as Kubeflow's scheduler does: returns a function from a time to whether it fires."""
    return _load("kubeflow_cron").read_kubeflow_cron


@pytest.fixture
def make_kubeflow_runner(monkeypatch, tmp_path) -> Callable[..., KubeflowRunnerConfig]:
    """Makes a runner's configuration, in an environment without any setting of kfp."""
    import kfp

    for name in ("KUBEFLOW_TOKEN", "SSL_CERT_FILE", "KF_PIPELINES_ENDPOINT", "KUBECONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(kfp.Client, "_LOCAL_KFP_CONTEXT", str(tmp_path / "context.json"))

    def make(host: str | None, **more) -> KubeflowRunnerConfig:
        return KubeflowRunnerConfig(kind="kubeflow", pipeline_root="gs://bucket/runs", host=host, **more)

    return make


@pytest.fixture
def kubeflow_runner(kubeflow_server, make_kubeflow_runner) -> KubeflowRunnerConfig:
    return make_kubeflow_runner(kubeflow_server.host, experiment="nightly", service_account="trainer")


@pytest.fixture(scope="session")
def tiny_spec(tmp_path_factory) -> CompiledSpec:
    """A pipeline with a nested one in a condition; each of its two tasks would use Kubeflow's cache."""
    from kfp import compiler, dsl

    @dsl.container_component
    def train(path: str, rate: float, steps: int):
        return dsl.ContainerSpec(image="image:tag", command=["train"], args=[path, str(rate), str(steps)])

    @dsl.pipeline(name="tiny")
    def tiny(path: str, steps: int, rate: float = 0.5):
        first = train(path=path, rate=rate, steps=steps)
        with dsl.If(steps > 3):
            train(path=path, rate=rate, steps=steps).after(first)

    file = tmp_path_factory.mktemp("spec") / "tiny.yaml"
    compiler.Compiler().compile(tiny, str(file))
    return CompiledSpec(
        pipeline_name="tiny",
        text=file.read_text(encoding="utf-8"),
        parameters={"path": "data/new.jsonl", "rate": 1e-5, "steps": 7},
    )


@pytest.fixture(scope="session")
def record_run():
    """Puts a run into a store with what it depended on."""

    def make(store, run_id: str, inputs: dict[str, str], pipeline_name: str) -> None:
        write_run_record(store, run_id, {"pipeline_name": pipeline_name, "inputs": json.dumps(inputs)})

    return make


@pytest.fixture(scope="session")
def bless():
    """Puts the Evaluator's verdict on a run that is in a store, as TFX would: 1 is blessed, 0 is not."""

    def make(store, run_id: str, blessed: int) -> None:
        type_id = store.put_artifact_type(metadata_store_pb2.ArtifactType(name="ModelBlessing"))
        artifact = metadata_store_pb2.Artifact(type_id=type_id, uri=f"/{run_id}")
        artifact.custom_properties["blessed"].int_value = blessed
        (artifact_id,) = store.put_artifacts([artifact])
        context_id = store.get_context_by_type_and_name("pipeline_run", run_id).id
        attribution = metadata_store_pb2.Attribution(artifact_id=artifact_id, context_id=context_id)
        store.put_attributions_and_associations([attribution], [])

    return make
