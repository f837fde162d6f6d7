"""Runs and schedules of compiled pipelines on Vertex AI Pipelines, through its own client library."""

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from components.errors import UserError
from components.options import nearest
from configs.runner_schema import VertexRunnerConfig
from pipeline.cron import find_cron_problem, to_five_fields
from pipeline.specs.compiled_spec import CompiledSpec
from pipeline.vertex.errors import explain_errors, load_credentials
from pipeline.vertex.job import REQUEST_SECONDS, check_bucket, make_job, read_spec, submit_job

# Display names of our schedules: the pipeline's name and the hash of all that makes the schedule.
_DISPLAY_NAME = re.compile(r"(?P<pipeline>.+)-[0-9a-f]{12}")
_CRON = re.compile(r"(?:CRON_)?TZ=(?P<timezone>\S+)\s+(?P<cron>.+)")
_CONSOLE = "https://console.cloud.google.com/vertex-ai/locations"


@dataclass(frozen=True, kw_only=True)
class SubmittedRun:
    """A run that Vertex AI has accepted: its id, its full resource name, and its page in the console."""

    run_id: str
    name: str
    url: str


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A schedule on Vertex AI.

    Attributes:
        display_name: `<pipeline>-<hash>`; the same schedule always has the same.
        name: Full resource name.
        pipeline_name: What it runs.
        cron: Five fields.
        timezone: IANA name that `cron` is in.
        state: `active`, `paused` or `completed`.
        catch_up: Whether runs that could not start at their time are made up for.
        max_concurrency: How many of its runs may be active at a time.
        next_run: When the next run starts, ISO 8601; empty if not known.
        url: Its page in the console.
    """

    display_name: str
    name: str
    pipeline_name: str
    cron: str
    timezone: str
    state: str
    catch_up: bool
    max_concurrency: int
    next_run: str
    url: str


def submit(runner: VertexRunnerConfig, spec: CompiledSpec, *, use_cache: bool = True) -> SubmittedRun:
    """Starts one run. Every call starts another; steps that ran before come from the cache, as the spec says.

    Args:
        runner: Where it runs.
        spec: What runs.
        use_cache: False: every step runs again.

    Raises:
        UserError: If a parameter has no value, there are no credentials, or Vertex AI refuses or cannot be reached.
    """
    document = read_spec(spec)
    credentials = load_credentials()
    now = datetime.now(UTC).strftime("%Y%m%d%H%M%S%f")
    run_id = f"{re.sub('[^-a-z0-9]+', '-', spec.pipeline_name.lower()).strip('-')[:100]}-{now}"
    with explain_errors(runner, "submit the pipeline"):
        job = make_job(runner, spec, document, credentials, run_id, use_cache=use_cache)
        check_bucket(runner, job.runtime_config.gcs_output_directory, credentials)
        name = submit_job(runner, job)
    url = f"{_CONSOLE}/{runner.region}/pipelines/runs/{run_id}?project={runner.project}"
    return SubmittedRun(run_id=run_id, name=name, url=url)


def create_schedule(
    runner: VertexRunnerConfig,
    spec: CompiledSpec,
    cron: str,
    *,
    timezone: str,
    catch_up: bool,
    max_concurrency: int,
    use_cache: bool = True,
) -> Schedule:
    """Starts runs by a cron expression; returns the schedule that is there already if all is the same.

    Args:
        runner: Where it runs.
        spec: What it runs.
        cron: Five fields, or a macro such as `@weekly`.
        timezone: IANA name.
        catch_up: Whether a run that finds `max_concurrency` others active waits instead of being left out, and whether
            runs that a pause has left out are made up for when it ends.
        max_concurrency: How many of its runs may be active at a time.
        use_cache: False: every step of every run runs again.

    Raises:
        UserError: If the expression is not valid, or as `submit`.
    """
    if problem := find_cron_problem(cron):
        raise UserError(f"the cron expression {problem}")
    cron = to_five_fields(cron)
    document = read_spec(spec)
    credentials = load_credentials()
    # Without an entry for the default, so that schedules of earlier versions are found again.
    options = [cron, timezone, catch_up, max_concurrency, *([] if use_cache else ["no cache"])]
    content = json.dumps([spec.text, spec.parameters, options, runner.model_dump(mode="json")], sort_keys=True)
    display_name = f"{spec.pipeline_name}-{hashlib.sha256(content.encode()).hexdigest()[:12]}"
    with explain_errors(runner, "create the schedule"):
        for existing in _list(runner, credentials):
            if existing.display_name == display_name and existing.state.name in ("ACTIVE", "PAUSED"):
                return _describe(runner, existing)
        from google.cloud import aiplatform

        job = make_job(runner, spec, document, credentials, use_cache=use_cache)
        check_bucket(runner, job.runtime_config.gcs_output_directory, credentials)
        schedule = aiplatform.PipelineJobSchedule(
            pipeline_job=job,
            display_name=display_name,
            credentials=credentials,
            project=runner.project,
            location=runner.region,
        )
        schedule.create(
            cron=f"TZ={timezone} {cron}",
            allow_queueing=catch_up,
            max_concurrent_run_count=max_concurrency,  # that start at a time
            max_concurrent_active_run_count=max_concurrency,  # that have not ended
            service_account=runner.service_account,
            network=runner.network,
            create_request_timeout=REQUEST_SECONDS,
        )
        return _describe(runner, schedule.gca_resource)


def list_schedules(runner: VertexRunnerConfig, pipeline_name: str | None = None) -> list[Schedule]:
    """Returns the schedules that this project has made, newest first; those of one pipeline if it is named.

    Raises:
        UserError: If there are no credentials, or Vertex AI refuses or cannot be reached.
    """
    credentials = load_credentials()
    with explain_errors(runner, "list the schedules"):
        found = [_describe(runner, each) for each in _list(runner, credentials)]
    return [each for each in found if pipeline_name in (None, each.pipeline_name)]


def pause_schedule(runner: VertexRunnerConfig, name: str) -> None:
    """Stops a schedule from starting runs until it is resumed; runs that have started go on.

    Args:
        runner: Where it is.
        name: Its display name, id or full resource name.

    Raises:
        UserError: If there is no such schedule, or as `list_schedules`.
    """
    credentials = load_credentials()
    with explain_errors(runner, f"pause the schedule {name}"):
        _find(runner, credentials, name).pause()


def resume_schedule(runner: VertexRunnerConfig, name: str, catch_up: bool | None = None) -> None:
    """Lets a paused schedule start runs again.

    Args:
        runner: Where it is.
        name: As for `pause_schedule`.
        catch_up: Whether the runs that the pause has left out are made up for; None is what it was created with.

    Raises:
        UserError: As `pause_schedule`.
    """
    credentials = load_credentials()
    with explain_errors(runner, f"resume the schedule {name}"):
        schedule = _find(runner, credentials, name)
        if catch_up is None:
            catch_up = schedule.gca_resource.allow_queueing
        # The library's own `resume` takes `catch_up` and does not send it.
        request = {"name": schedule.gca_resource.name, "catch_up": catch_up}
        schedule.api_client.resume_schedule(request=request, timeout=REQUEST_SECONDS)


def delete_schedule(runner: VertexRunnerConfig, name: str) -> None:
    """Deletes a schedule; runs that have started go on. Arguments and errors as for `pause_schedule`."""
    credentials = load_credentials()
    with explain_errors(runner, f"delete the schedule {name}"):
        _find(runner, credentials, name).delete()


def _list(runner: VertexRunnerConfig, credentials: Any) -> list[Any]:
    """Our schedules as the API's messages, all pages of them."""
    return [each.gca_resource for each in _list_resources(runner, credentials)]


def _list_resources(runner: VertexRunnerConfig, credentials: Any) -> list[Any]:
    from google.cloud import aiplatform

    found = aiplatform.PipelineJobSchedule.list(
        order_by="create_time desc", project=runner.project, location=runner.region, credentials=credentials
    )
    return [each for each in found if _DISPLAY_NAME.fullmatch(each.gca_resource.display_name)]


def _find(runner: VertexRunnerConfig, credentials: Any, name: str) -> Any:
    found = _list_resources(runner, credentials)
    for each in found:
        resource = each.gca_resource
        if name in (resource.display_name, resource.name, resource.name.rpartition("/")[2]):
            return each
    names = [each.gca_resource.display_name for each in found]
    raise UserError(
        f"there is no schedule {name!r} in project {runner.project}, region {runner.region}.{nearest(name, names)} "
        f"Schedules: {', '.join(names) or 'none'}."
    )


def _describe(runner: VertexRunnerConfig, resource: Any) -> Schedule:
    cron, pipeline = _CRON.fullmatch(resource.cron), _DISPLAY_NAME.fullmatch(resource.display_name)
    schedule_id = resource.name.rpartition("/")[2]
    return Schedule(
        display_name=resource.display_name,
        name=resource.name,
        pipeline_name=pipeline["pipeline"] if pipeline else "",
        cron=cron["cron"] if cron else resource.cron,
        timezone=cron["timezone"] if cron else "UTC",
        state=resource.state.name.lower(),
        catch_up=resource.allow_queueing,
        max_concurrency=resource.max_concurrent_active_run_count or resource.max_concurrent_run_count,
        next_run=resource.next_run_time.isoformat() if resource.next_run_time else "",
        url=f"{_CONSOLE}/{runner.region}/pipelines/schedules/{schedule_id}?project={runner.project}",
    )
