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
from pipeline.receipt_report import Receipt
from pipeline.specs.compiled_spec import CompiledSpec


def _load(name: str):
    # Tests have no package that they could import from.
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def make_receipt():
    """Returns a function that makes the receipt of a training; `text` is that of what the loss counts."""

    def make(text: str = "Red.", train_split: str = "train", **changes) -> Receipt:
        quantiles = {"min": 2, "p5": 3, "p25": 8, "median": 12, "p75": 15, "p95": 21, "max": 1300, "mean": 12.34}
        none = dict.fromkeys(quantiles)
        figures = {
            "rows": 100,
            "tokens": 5000,
            "supervised_tokens": 1234,
            "response_tokens": 1234,
            "weight_sum": 1234.0,
            "tokens_a_row": quantiles,
            "supervised_tokens_a_row": quantiles,
            "spans_a_row": {**quantiles, "max": 1},
            "rows_without_supervised_token": 3,
            "rows_cleaned_away": 0,
            "rows_with_supervised_end_token": 97,
            "rows_without_supervised_end_token": 0,
            "rows_with_doubled_start_token": 0,
            "rows_with_special_ids_in_text": 0,
            "special_ids_in_text": 0,
            "truncated": {
                "rows": 8,
                "prompt_tokens_cut": 40,
                "response_tokens_cut": 2,
                "full_length": quantiles,
                "fits": [{"length": 60, "rows": 0}, {"length": 72, "rows": 5}, {"length": 1536, "rows": 8}],
            },
        }
        clean = {"rows": 0, "prompt_tokens_cut": 0, "response_tokens_cut": 0, "full_length": none, "fits": []}
        pieces = [
            {"text": "<s>", "num_tokens": 1, "weight": 0.0, "special": True},
            {"text": "Name a\ncolour.", "num_tokens": 4, "weight": 0.0, "special": False},
            {"text": text, "num_tokens": 2, "weight": 1.0, "special": False},
            {"text": "!", "num_tokens": 1, "weight": 0.5, "special": False},
            {"text": "</s>", "num_tokens": 1, "weight": 1.0, "special": True},
        ]
        row = {"example_id": "0123456789abcdef0123", "split": train_split, "tokens_cut": [1, 2], "pieces": pieces}
        violation = {"rule": "truncated_rows", "level": "warn", "split": train_split, "rows": 8, "of": 100}
        return Receipt.model_validate(
            {
                "format_version": 1,
                "preset": "preset",
                "text": {"template": "alpaca", "max_length": 48},
                "train_split": train_split,
                "eval_split": "eval",
                "start_token": {"id": 1, "text": "<s>"},
                "end_tokens": [{"id": 2, "text": "</s>"}],
                "splits": {train_split: figures, "eval": {**figures, "truncated": clean}},
                "violations": [
                    {**violation, "example_id": "0123", "message": "at most 5 % of the rows may be truncated."}
                ],
                "examples": [{**row, "rule": "truncated_rows"}],
                **changes,
            }
        )

    return make


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
    """Puts verdict and push on a run that is in a store, as TFX would: 1 is blessed, 0 is not; what is blessed is pushed."""

    def make(store, run_id: str, blessed: int, pushed: int | None = None) -> None:
        context_id = store.get_context_by_type_and_name("pipeline_run", run_id).id
        verdicts = {
            "ModelBlessing": ("blessed", blessed),
            "PushedModel": ("pushed", blessed if pushed is None else pushed),
        }
        for kind, (name, value) in verdicts.items():
            type_id = store.put_artifact_type(metadata_store_pb2.ArtifactType(name=kind))
            artifact = metadata_store_pb2.Artifact(type_id=type_id, uri=f"/{run_id}/{kind}")
            artifact.custom_properties[name].int_value = value
            (artifact_id,) = store.put_artifacts([artifact])
            attribution = metadata_store_pb2.Attribution(artifact_id=artifact_id, context_id=context_id)
            store.put_attributions_and_associations([attribution], [])

    return make
