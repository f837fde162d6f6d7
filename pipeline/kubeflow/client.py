"""Submits a compiled pipeline to Kubeflow Pipelines."""

import hashlib
import json
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from configs.load import NumberLoader
from configs.runner_schema import KubeflowRunnerConfig
from pipeline.specs.compiled_spec import CompiledSpec

if TYPE_CHECKING:
    import kfp

_CONFLICT = 409
# Kubeflow's limit of a version's name, 127, less the hash.
_MAX_NAME = 100


@dataclass(frozen=True, kw_only=True)
class SubmittedRun:
    """A run that Kubeflow Pipelines has accepted.

    Attributes:
        id: Kubeflow's.
        name: As its list of runs shows it.
        pipeline_id: Of the pipeline that it is a run of.
        version_id: Of the version of that pipeline.
        url: The page of the run; good where the API's host also serves the pages, as behind a forwarded port.
    """

    id: str
    name: str
    pipeline_id: str
    version_id: str
    url: str


@dataclass(frozen=True, kw_only=True)
class Uploaded:
    """Where a run or a schedule belongs to; ids are Kubeflow's."""

    experiment_id: str
    pipeline_id: str
    version_id: str


def submit(runner: KubeflowRunnerConfig, spec: CompiledSpec, client: "kfp.Client | None" = None) -> SubmittedRun:
    """Starts one run; the pipeline and its version are uploaded, and the experiment is made, where they are not there.

    Kubeflow's own cache is off: the pipeline has its own.

    Args:
        runner: Where it runs.
        spec: What runs.
        client: See `pipeline.kubeflow.api.connect`; made unless given.

    Raises:
        UserError: If the API cannot be reached or refuses the run.
    """
    from pipeline.kubeflow import api as kubeflow_api

    client = client or kubeflow_api.connect(runner)
    uploaded = upload(runner, spec, client)
    name = f"{spec.pipeline_name} {datetime.now(UTC):%Y-%m-%d %H:%M:%S}"
    host = kubeflow_api.get_host(client)
    with kubeflow_api.explain_errors(host, f"start a run of {spec.pipeline_name}"):
        run = client.run_pipeline(
            experiment_id=uploaded.experiment_id,
            job_name=name,
            params=dict(spec.parameters),
            pipeline_id=uploaded.pipeline_id,
            version_id=uploaded.version_id,
            service_account=runner.service_account,
        )
    return SubmittedRun(
        id=run.run_id,
        name=name,
        pipeline_id=uploaded.pipeline_id,
        version_id=uploaded.version_id,
        url=f"{host}/#/runs/details/{run.run_id}",
    )


def upload(runner: KubeflowRunnerConfig, spec: CompiledSpec, client: "kfp.Client") -> Uploaded:
    """Makes pipeline, version and experiment where they are not there. The same specification is uploaded once.

    Raises:
        UserError: If the API cannot be reached or refuses.
    """
    from pipeline.kubeflow import api as kubeflow_api

    namespace = kubeflow_api.get_namespace(client, runner)
    host = kubeflow_api.get_host(client)
    with kubeflow_api.explain_errors(host, f"upload the pipeline {spec.pipeline_name}"):
        pipeline_id = find_pipeline(runner, spec.pipeline_name, client) or _make_pipeline(runner, spec, client)
        version_id = _find_version(spec, pipeline_id, client) or _make_version(spec, pipeline_id, client)
    with kubeflow_api.explain_errors(host, f"use the experiment {runner.experiment}"):
        experiment = client.create_experiment(name=runner.experiment, namespace=namespace)
    return Uploaded(experiment_id=experiment.experiment_id, pipeline_id=pipeline_id, version_id=version_id)


def find_pipeline(runner: KubeflowRunnerConfig, name: str, client: "kfp.Client") -> str | None:
    """Returns the id of the pipeline of this name, or None. Errors are kfp's own."""
    from pipeline.kubeflow import api as kubeflow_api

    found = kubeflow_api.list_all(
        client.list_pipelines,
        "pipelines",
        namespace=kubeflow_api.get_namespace(client, runner),
        filter=kubeflow_api.make_name_filter(name),
    )
    return found[0].pipeline_id if found else None


def make_digest(spec: CompiledSpec, *options: Any) -> str:
    """Returns twelve hexadecimal digits that tell a specification, and options beside it, from others."""
    content = json.dumps([_turn_cache_off(spec.text), *options], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def _version_name(spec: CompiledSpec) -> str:
    return f"{spec.pipeline_name[:_MAX_NAME]}-{make_digest(spec)}"


def _make_pipeline(runner: KubeflowRunnerConfig, spec: CompiledSpec, client: "kfp.Client") -> str:
    """kfp's `upload_pipeline` would name the first version as the pipeline, so that it could not be found by its hash."""
    import kfp_server_api

    from pipeline.kubeflow import api as kubeflow_api

    namespace = kubeflow_api.get_namespace(client, runner)
    body = kfp_server_api.V2beta1Pipeline(display_name=spec.pipeline_name, namespace=namespace)
    try:
        return client.pipelines.pipeline_service_create_pipeline(pipeline=body).pipeline_id
    except kfp_server_api.ApiException as error:
        # Somebody else has made it just now.
        if error.status == _CONFLICT and (pipeline_id := find_pipeline(runner, spec.pipeline_name, client)):
            return pipeline_id
        raise


def _find_version(spec: CompiledSpec, pipeline_id: str, client: "kfp.Client") -> str | None:
    from pipeline.kubeflow import api as kubeflow_api

    found = kubeflow_api.list_all(
        client.list_pipeline_versions,
        "pipeline_versions",
        pipeline_id=pipeline_id,
        filter=kubeflow_api.make_name_filter(_version_name(spec)),
    )
    return found[0].pipeline_version_id if found else None


def _make_version(spec: CompiledSpec, pipeline_id: str, client: "kfp.Client") -> str:
    import kfp_server_api

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pipeline.yaml"
        file.write_text(_turn_cache_off(spec.text), encoding="utf-8")
        try:
            version = client.upload_pipeline_version(
                str(file), pipeline_version_name=_version_name(spec), pipeline_id=pipeline_id
            )
        except kfp_server_api.ApiException as error:
            if error.status == _CONFLICT and (version_id := _find_version(spec, pipeline_id, client)):
                return version_id
            raise
    return version.pipeline_version_id


def _turn_cache_off(text: str) -> str:
    """Returns a specification without Kubeflow's cache; kfp's own switch is without effect on uploaded pipelines.

    A text in which no task caches is returned as it is.
    """
    documents = list(yaml.load_all(text, NumberLoader))
    main = documents[0]
    changed = False
    for part in (main["root"], *main.get("components", {}).values()):
        for task in part.get("dag", {}).get("tasks", {}).values():
            if task.get("cachingOptions", {}).get("enableCache"):
                task["cachingOptions"] = {"enableCache": False}
                changed = True
    return yaml.safe_dump_all(documents, sort_keys=False, allow_unicode=True) if changed else text
