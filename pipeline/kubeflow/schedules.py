"""Schedules of Kubeflow Pipelines (its recurring runs): made, listed, paused, resumed, deleted."""

import dataclasses
import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from components.errors import UserError
from components.options import nearest
from configs.runner_schema import KubeflowRunnerConfig
from pipeline.cron import find_cron_problem, find_timezone_problem, from_kfp_cron, to_kfp_cron
from pipeline.kubeflow.client import find_pipeline, make_digest, upload
from pipeline.specs.compiled_spec import CompiledSpec

if TYPE_CHECKING:
    import kfp

MAX_CONCURRENCY = 10


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A schedule as Kubeflow Pipelines holds it.

    Attributes:
        id: Kubeflow's.
        name: `<pipeline>-<hash>` if this project made it.
        pipeline_name: The pipeline that runs; its id if it is gone, empty if the schedule carries one of its own.
        cron: Five fields, in the installation's time zone; what it is instead, if somebody else made it.
        enabled: False if it is paused.
        catch_up: Whether runs that were missed are made up for.
        max_concurrency: How many of its runs may be under way at once.
        parameters: What each run is given.
        created_at: When it was made.
    """

    id: str
    name: str
    pipeline_name: str
    cron: str
    enabled: bool
    catch_up: bool
    max_concurrency: int
    parameters: dict[str, Any]
    created_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class CreatedSchedule:
    """What `create_schedule` has done.

    Attributes:
        schedule: The one that was asked for.
        is_new: False if it was there already.
        replaced: Earlier schedules of the pipeline that were deleted.
        others: Further schedules of the pipeline that are still there, and fire beside this one unless they are paused.
    """

    schedule: Schedule
    is_new: bool
    replaced: tuple[Schedule, ...]
    others: tuple[Schedule, ...]


def create_schedule(
    runner: KubeflowRunnerConfig,
    spec: CompiledSpec,
    cron: str,
    *,
    timezone: str | None = None,
    catch_up: bool,
    max_concurrency: int,
    enabled: bool = True,
    replace: bool = False,
    client: "kfp.Client | None" = None,
) -> CreatedSchedule:
    """Makes a schedule, unless the very same one is there.

    A schedule is known by a hash of all that it is: specification, parameters, cron expression, options, experiment and
    service account. The same call twice thus leaves one schedule. A pause is no part of it: a schedule that is there stays
    paused or not, as it was, for somebody may have paused it on purpose.

    Anything else makes another schedule. Earlier ones of the pipeline are left alone and named in the result: one may
    well want one for every night and one for every month. With `replace`, those that this project has made are deleted,
    after the new one is there; those that somebody made by hand never are.

    Args:
        runner: Where it runs.
        spec: What runs.
        cron: Five fields, or a macro such as `@weekly`.
        timezone: The one in which `cron` is meant. Kubeflow has a single one for all schedules, `schedule_timezone` of the
            runner; another one is refused rather than silently ignored.
        catch_up: Whether runs that were missed, while the schedule was paused or the cluster was down, are made up for.
        max_concurrency: 1 to 10: how many of its runs may be under way at once.
        enabled: False makes it paused.
        replace: See above.
        client: See `pipeline.kubeflow.api.connect`; made unless given.

    Raises:
        UserError: If an argument is not valid, or the API cannot be reached or refuses.
    """
    _check_arguments(runner, cron, timezone, max_concurrency)
    from pipeline.kubeflow import api as kubeflow_api

    client = client or kubeflow_api.connect(runner)
    kfp_cron = to_kfp_cron(cron)
    options = [kfp_cron, runner.schedule_timezone, catch_up, max_concurrency, runner.experiment, runner.service_account]
    name = f"{spec.pipeline_name}-{make_digest(spec, spec.parameters, *options)}"
    there = list_schedules(runner, spec.pipeline_name, client)
    schedule = next((s for s in there if s.name == name), None)
    is_new = schedule is None
    if schedule is None:
        uploaded = upload(runner, spec, client)
        with kubeflow_api.explain_errors(kubeflow_api.get_host(client), f"make the schedule {name}"):
            made = client.create_recurring_run(
                experiment_id=uploaded.experiment_id,
                job_name=name,
                description=f"{cron} ({runner.schedule_timezone})",
                cron_expression=kfp_cron,
                max_concurrency=max_concurrency,
                no_catchup=not catch_up,
                params=dict(spec.parameters),
                pipeline_id=uploaded.pipeline_id,
                version_id=uploaded.version_id,
                enabled=enabled,
                service_account=runner.service_account,
            )
        schedule = _read(made, spec.pipeline_name)
    others = [s for s in there if s.id != schedule.id]
    replaced = [s for s in others if replace and _is_ours(s)]
    for other in replaced:
        with kubeflow_api.explain_errors(kubeflow_api.get_host(client), f"delete the schedule {other.name}"):
            client.delete_recurring_run(other.id)
    return CreatedSchedule(
        schedule=schedule,
        is_new=is_new,
        replaced=tuple(replaced),
        others=tuple(s for s in others if s not in replaced),
    )


def find_schedule_problems(
    runner: KubeflowRunnerConfig, cron: str, timezone: str | None, max_concurrency: int
) -> dict[str, str]:
    """Returns what is wrong with arguments of `create_schedule`, by their names. Asks nobody."""
    problems = {}
    if problem := find_cron_problem(cron):
        problems["cron"] = problem
    if timezone and (problem := find_timezone_problem(timezone)):
        problems["timezone"] = problem
    elif timezone and timezone != runner.schedule_timezone:
        problems["timezone"] = (
            f"must be {runner.schedule_timezone}: Kubeflow Pipelines reads all cron expressions in one time zone. Give the "
            f"expression in that one; or, if the installation's `cronScheduleTimezone` is {timezone}, write "
            f"`schedule_timezone: {timezone}` into the runner's YAML. Received: {timezone!r}."
        )
    if not 1 <= max_concurrency <= MAX_CONCURRENCY:
        problems["max_concurrency"] = f"must be 1 to {MAX_CONCURRENCY}. Received: {max_concurrency}."
    return problems


def list_schedules(
    runner: KubeflowRunnerConfig, pipeline_name: str | None = None, client: "kfp.Client | None" = None
) -> list[Schedule]:
    """Returns the schedules of one pipeline, or of all, oldest first; also those that were made by hand.

    Raises:
        UserError: If the API cannot be reached or refuses.
    """
    from pipeline.kubeflow import api as kubeflow_api

    client = client or kubeflow_api.connect(runner)
    with kubeflow_api.explain_errors(kubeflow_api.get_host(client), "list the schedules"):
        pipeline_id = find_pipeline(runner, pipeline_name, client) if pipeline_name else None
        if pipeline_name and pipeline_id is None:
            return []
        names = {pipeline_id: pipeline_name} if pipeline_name else {}
        found = []
        namespace = kubeflow_api.get_namespace(client, runner)
        for run in kubeflow_api.list_all(client.list_recurring_runs, "recurring_runs", namespace=namespace):
            run_pipeline = _get_pipeline_id(run)
            if pipeline_id is not None and run_pipeline != pipeline_id:
                continue
            if run_pipeline not in names:
                names[run_pipeline] = _find_pipeline_name(run_pipeline, client)
            found.append(_read(run, names[run_pipeline] or ""))
    return sorted(found, key=lambda s: (str(s.created_at), s.name, s.id))


def pause_schedule(runner: KubeflowRunnerConfig, id_or_name: str, client: "kfp.Client | None" = None) -> Schedule:
    """Stops a schedule from firing until it is resumed, and returns it.

    Raises:
        UserError: If there is none of this id or name, or the API cannot be reached or refuses.
    """
    return dataclasses.replace(_change(runner, id_or_name, client, "pause", "disable_recurring_run"), enabled=False)


def resume_schedule(runner: KubeflowRunnerConfig, id_or_name: str, client: "kfp.Client | None" = None) -> Schedule:
    """Lets a schedule fire again, and returns it. With `catch_up`, the runs missed meanwhile start now.

    Raises:
        UserError: As `pause_schedule`.
    """
    return dataclasses.replace(_change(runner, id_or_name, client, "resume", "enable_recurring_run"), enabled=True)


def delete_schedule(runner: KubeflowRunnerConfig, id_or_name: str, client: "kfp.Client | None" = None) -> Schedule:
    """Deletes a schedule, not its runs, and returns what it was.

    Raises:
        UserError: As `pause_schedule`.
    """
    return _change(runner, id_or_name, client, "delete", "delete_recurring_run")


def _check_arguments(runner: KubeflowRunnerConfig, cron: str, timezone: str | None, max_concurrency: int) -> None:
    subjects = {"cron": "the cron expression", "timezone": "the time zone", "max_concurrency": "the concurrency"}
    if problems := find_schedule_problems(runner, cron, timezone, max_concurrency):
        raise UserError("\n".join(f"{subjects[name]} {problem}" for name, problem in problems.items()))


def _change(
    runner: KubeflowRunnerConfig, id_or_name: str, client: "kfp.Client | None", verb: str, method: str
) -> Schedule:
    from pipeline.kubeflow import api as kubeflow_api

    client = client or kubeflow_api.connect(runner)
    schedules = list_schedules(runner, None, client)
    schedule = _find(schedules, id_or_name)
    with kubeflow_api.explain_errors(kubeflow_api.get_host(client), f"{verb} the schedule {schedule.name}"):
        getattr(client, method)(schedule.id)
    return schedule


def _find(schedules: list[Schedule], id_or_name: str) -> Schedule:
    found = [s for s in schedules if s.id == id_or_name] or [s for s in schedules if s.name == id_or_name]
    if len(found) > 1:
        ids = ", ".join(s.id for s in found)
        raise UserError(f"a schedule's name must be its alone; {id_or_name!r} names {len(found)}. Give an id: {ids}.")
    if not found:
        known = "".join(f"\n  {s.name} (id {s.id})" for s in schedules) or " none."
        near = nearest(id_or_name, [s.name for s in schedules])
        raise UserError(f"must be the name or id of a schedule.{near} Received: {id_or_name!r}. Schedules:{known}")
    return found[0]


def _is_ours(schedule: Schedule) -> bool:
    return re.fullmatch(f"{re.escape(schedule.pipeline_name)}-[0-9a-f]{{12}}", schedule.name) is not None


def _get_pipeline_id(run: Any) -> str:
    reference = run.pipeline_version_reference
    return (reference.pipeline_id or "") if reference else ""


def _find_pipeline_name(pipeline_id: str, client: "kfp.Client") -> str:
    """Returns the id itself where the pipeline has been deleted: the schedule outlives it."""
    import kfp_server_api

    if not pipeline_id:
        return ""
    try:
        return client.get_pipeline(pipeline_id).display_name or pipeline_id
    except kfp_server_api.ApiException as error:
        if error.status != 404:
            raise
        return pipeline_id


def _read(run: Any, pipeline_name: str) -> Schedule:
    trigger = run.trigger
    if trigger and trigger.cron_schedule:
        cron = from_kfp_cron(trigger.cron_schedule.cron or "")
    elif trigger and trigger.periodic_schedule:
        cron = f"every {trigger.periodic_schedule.interval_second} s"
    else:
        cron = ""
    return Schedule(
        id=run.recurring_run_id,
        name=run.display_name or "",
        pipeline_name=pipeline_name,
        cron=cron,
        enabled=(run.status or run.mode) in ("ENABLED", "ENABLE"),
        catch_up=not run.no_catchup,
        max_concurrency=int(run.max_concurrency or 1),
        parameters=dict(run.runtime_config.parameters or {}) if run.runtime_config else {},
        created_at=run.created_at,
    )
