"""A compiled pipeline as a job of Vertex AI's client library, and what is checked before it is submitted."""

import re
import tempfile
from pathlib import Path
from typing import Any

import yaml

from components.errors import UserError
from components.options import nearest
from configs.runner_schema import VertexRunnerConfig
from pipeline.specs.compiled_spec import CompiledSpec

REQUEST_SECONDS = 60
_BUCKET_SECONDS = 15


def read_spec(spec: CompiledSpec) -> dict[str, Any]:
    """The spec's PipelineSpec. Neither the library nor Vertex AI says before the run that a parameter has no value."""
    document = yaml.safe_load(spec.text)
    document = document.get("pipelineSpec", document)
    inputs = document.get("root", {}).get("inputDefinitions", {}).get("parameters", {})
    needed = [key for key, each in inputs.items() if "defaultValue" not in each and not each.get("isOptional")]
    if missing := sorted(key for key in needed if spec.parameters.get(key) is None):
        raise UserError(f"every parameter of the compiled pipeline needs a value. Without one: {', '.join(missing)}.")
    if unknown := sorted(spec.parameters.keys() - inputs.keys()):
        raise UserError(
            f"the compiled pipeline has the parameters {', '.join(sorted(inputs)) or '(none)'}; not {', '.join(unknown)}."
            f"{nearest(unknown[0], inputs)} Compile it again, or leave them out."
        )
    return document


def make_job(
    runner: VertexRunnerConfig,
    spec: CompiledSpec,
    document: dict[str, Any],
    credentials: Any,
    run_id: str | None = None,
    *,
    use_cache: bool = True,
) -> Any:
    """Returns the `PipelineJob`; nothing is sent yet.

    Args:
        runner: Where it is to run.
        spec: What is to run.
        document: See `read_spec`.
        credentials: See `pipeline.vertex.errors.load_credentials`.
        run_id: Of the run; None for the template of a schedule.
        use_cache: Whether steps whose inputs have not changed are taken from the cache, as the spec says.
    """
    from google.cloud import aiplatform

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "pipeline.yaml")
        path.write_text(yaml.safe_dump(document), encoding="utf-8")
        # Never `enable_caching=True`: it would also switch the cache on for resolvers, which must look again in every run.
        return aiplatform.PipelineJob(
            display_name=spec.pipeline_name,
            template_path=str(path),
            job_id=run_id,
            pipeline_root=document.get("defaultPipelineRoot") or runner.pipeline_root,
            parameter_values=spec.parameters,
            enable_caching=None if use_cache else False,
            encryption_spec_key_name=runner.encryption_key,
            labels=_make_labels(runner, spec.pipeline_name),
            credentials=credentials,
            project=runner.project,
            location=runner.region,
        )


def submit_job(runner: VertexRunnerConfig, job: Any) -> str:
    """Creates the run of a `PipelineJob` with a `run_id`, once, and returns its full resource name.

    The library's own `PipelineJob.submit` first looks the bucket and its project up, with minutes of retries, makes a bucket
    that is missing, and goes on whatever came of it. Hence the same request here without that.
    """
    request = {
        "display_name": job.pipeline_spec["pipelineInfo"]["name"],
        "pipeline_spec": job.pipeline_spec,
        "runtime_config": job.runtime_config,
        "labels": _make_labels(runner, job.pipeline_spec["pipelineInfo"]["name"]),
    }
    if runner.service_account:
        request["service_account"] = runner.service_account
    if runner.network:
        request["network"] = runner.network
    if runner.encryption_key:
        request["encryption_spec"] = {"kms_key_name": runner.encryption_key}
    parent = f"projects/{runner.project}/locations/{runner.region}"
    created = job.api_client.create_pipeline_job(
        parent=parent, pipeline_job=request, pipeline_job_id=job.job_id, timeout=REQUEST_SECONDS
    )
    return str(created.name)


def _make_labels(runner: VertexRunnerConfig, pipeline_name: str) -> dict[str, str]:
    return {"pipeline": re.sub("[^a-z0-9_-]", "-", pipeline_name.lower())[:63]} | runner.labels


def check_bucket(runner: VertexRunnerConfig, root: str, credentials: Any) -> None:
    """Raises a UserError if the bucket is missing: the run would only fail at its first step."""
    from google.api_core.exceptions import Forbidden
    from google.cloud import storage
    from google.cloud.storage.retry import DEFAULT_RETRY

    name = root.removeprefix("gs://").partition("/")[0]
    bucket = storage.Client(project=runner.project, credentials=credentials).bucket(name)
    try:
        exists = bucket.exists(timeout=_BUCKET_SECONDS, retry=DEFAULT_RETRY.with_timeout(_BUCKET_SECONDS))
    except Forbidden:
        return  # whoever submits need not be allowed to look; the steps' account must be
    if not exists:
        raise UserError(
            f"pipeline_root: there is no bucket {name!r}. Make it: gcloud storage buckets create gs://{name} "
            f"--project {runner.project} --location {runner.region}"
        )
