"""What `submit`, `schedule` and `schedules` do: the same on Kubeflow Pipelines and on Vertex AI."""

import dataclasses
import json
import shutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from components.errors import UserError
from configs.load import ConfigError, Problem
from configs.runner_schema import ClusterRunnerConfig, KubeflowRunnerConfig, VertexRunnerConfig
from configs.schema import RunConfig
from pipeline.cluster_commands import compile_run
from pipeline.console import make_console
from pipeline.cron import find_cron_problem, find_timezone_problem, next_times
from pipeline.kubeflow import schedules as kubeflow_schedules
from pipeline.preset_pins import pin_presets
from pipeline.runner_checks import require_valid_run
from pipeline.specs.compiled_spec import CompiledSpec
from pipeline.specs.parameters import FORCE
from pipeline.vertex import client as vertex_client

_SHOWN_TIMES = 3
_PAUSED = "paused"


@dataclass(frozen=True, kw_only=True)
class ScheduleOptions:
    """When runs start.

    Attributes:
        cron: Five fields.
        timezone: IANA name; None: the cluster's own, or UTC.
        catch_up: Whether runs that were missed are made up for.
        max_concurrency: How many runs may be under way at once.
        replace: Whether other schedules of the pipeline are deleted.
        force: Whether runs go on in which nothing has changed; see `submit_run`.
    """

    cron: str
    timezone: str | None
    catch_up: bool
    max_concurrency: int
    replace: bool
    force: bool


@dataclass(frozen=True, kw_only=True)
class ScheduleRow:
    """A schedule as it is listed."""

    id: str
    name: str
    pipeline: str
    cron: str
    timezone: str
    state: str
    catch_up: bool
    max_concurrency: int


def submit_run(config: RunConfig, config_path: str, runner: ClusterRunnerConfig, *, force: bool) -> None:
    """Compiles a run, submits it once, and prints where it is.

    Args:
        config: The run.
        config_path: Where it was read from.
        runner: The cluster.
        force: Whether it goes on though nothing has changed. Kubeflow Pipelines: without the check; Vertex AI, which has
            none: without its cache.

    Raises:
        ConfigError: With everything that would fail there; nothing is submitted then.
        UserError: If there are no credentials, or the cluster cannot be reached or refuses.
    """
    console = _make_console()
    config, connection = _check(config, config_path, runner)
    spec = _compile(config, config_path, runner, console)
    if isinstance(runner, VertexRunnerConfig):
        on_vertex = vertex_client.submit(runner, spec, use_cache=not force)
        run_id, url = on_vertex.run_id, on_vertex.url
    else:
        from pipeline.kubeflow import client as kubeflow_client

        assert isinstance(runner, KubeflowRunnerConfig)
        on_kubeflow = kubeflow_client.submit(runner, _set_force(spec, force), connection)
        run_id, url = on_kubeflow.id, on_kubeflow.url
    console.print(f"Submitted {spec.pipeline_name}: run {run_id}\n{url}", soft_wrap=True, markup=False)


def make_schedule(config: RunConfig, config_path: str, runner: ClusterRunnerConfig, options: ScheduleOptions) -> None:
    """Compiles a run, schedules it unless the very same schedule is there, and prints when it runs.

    Raises:
        ConfigError: With everything that would fail there and what is wrong with the options; nothing is submitted then.
        UserError: If there are no credentials, or the cluster cannot be reached or refuses.
    """
    default = runner.schedule_timezone if isinstance(runner, KubeflowRunnerConfig) else "UTC"
    timezone = options.timezone or default
    console = _make_console()
    config, connection = _check(config, config_path, runner, _find_option_problems(runner, options, timezone))
    spec = _compile(config, config_path, runner, console)
    row, is_new, replaced, others = _create(runner, spec, options, timezone, connection)
    console.print(
        f"{'Made' if is_new else 'Is there already:'} the schedule {escape(row.name)} ({escape(row.state)})",
        soft_wrap=True,
    )
    if row.state == _PAUSED:
        console.print("It starts no runs until `schedules resume`. Its next times would be:")
    for time in next_times(options.cron, timezone, _SHOWN_TIMES):
        console.print(f"  {time:%Y-%m-%d %H:%M} {timezone}")
    for other in replaced:
        console.print(f"Deleted {escape(other.name)}.", soft_wrap=True)
    for other in others:
        console.print(
            f"[yellow]{escape(other.name)} ({escape(other.cron)}, {escape(other.state)}) goes on beside it.[/] `schedules delete` removes it.",
            soft_wrap=True,
        )


def _find_option_problems(runner: ClusterRunnerConfig, options: ScheduleOptions, timezone: str) -> list[Problem]:
    if isinstance(runner, KubeflowRunnerConfig):
        found = kubeflow_schedules.find_schedule_problems(runner, options.cron, timezone, options.max_concurrency)
    else:
        checked = {"cron": find_cron_problem(options.cron), "timezone": find_timezone_problem(timezone)}
        found = {name: problem for name, problem in checked.items() if problem}
    return [Problem(f"--{name.replace('_', '-')}", problem) for name, problem in found.items()]


def _check(
    config: RunConfig, config_path: str, runner: ClusterRunnerConfig, more: Iterable[Problem] = ()
) -> tuple[RunConfig, Any]:
    """Returns the run as the cluster needs it, and kfp's client where it is Kubeflow; asks it nothing but whether it is there.

    All of this is before half a minute of compiling.
    """
    missing = None
    if isinstance(runner, VertexRunnerConfig):
        from pipeline.vertex.errors import load_credentials

        try:
            load_credentials()
        except UserError as error:
            missing = error
    try:
        config = require_valid_run(config, config_path, runner, more)
    except ConfigError as error:
        if missing is None:
            raise
        # Told with the others, so that it does not come as a surprise after them.
        raise ConfigError(config_path, [*error.problems, Problem("your credentials", str(missing))]) from missing
    if missing is not None:
        raise missing
    if isinstance(runner, KubeflowRunnerConfig):
        from pipeline.kubeflow import api as kubeflow_api

        return config, kubeflow_api.connect(runner)
    return config, None


def list_schedules(runner: ClusterRunnerConfig, pipeline_name: str | None, as_json: bool) -> None:
    """Prints the schedules of one pipeline, or of all."""
    rows = _list(runner, pipeline_name)
    if as_json:
        print(json.dumps([dataclasses.asdict(row) for row in rows], indent=1))
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("name", "pipeline", "cron", "time zone", "state", "catch up", "at once", "id"):
        table.add_column(name, overflow="fold", no_wrap=name == "name")
    for row in rows:
        catch_up, at_once = "yes" if row.catch_up else "no", str(row.max_concurrency)
        given = (row.name, row.pipeline, row.cron, row.timezone, row.state, catch_up, at_once, row.id)
        table.add_row(*map(escape, given))
    _make_console().print(table if rows else "No schedules.")


def change_schedule(runner: ClusterRunnerConfig, action: str, name: str) -> None:
    """Pauses, resumes or deletes a schedule.

    Args:
        runner: The cluster.
        action: `pause`, `resume` or `delete`.
        name: Name or id of the schedule.
    """
    module = vertex_client if isinstance(runner, VertexRunnerConfig) else kubeflow_schedules
    change: Callable[..., object] = getattr(module, f"{action}_schedule")
    change(runner, name)
    past = {"pause": "Paused", "resume": "Resumed", "delete": "Deleted"}[action]
    _make_console().print(f"{past} {name}.", soft_wrap=True, markup=False)


def _compile(config: RunConfig, config_path: str, runner: ClusterRunnerConfig, console: Console) -> CompiledSpec:
    config = pin_presets(config, console)
    # Stays where it is if compiling fails.
    folder = tempfile.mkdtemp(prefix="compile-")
    with console.status("Loading TensorFlow and TFX"):
        spec = compile_run(config, config_path, runner, Path(folder) / "compile.log")
    shutil.rmtree(folder)
    return spec


def _set_force(spec: CompiledSpec, force: bool) -> CompiledSpec:
    return dataclasses.replace(spec, parameters={**spec.parameters, FORCE: force})


def _create(
    runner: ClusterRunnerConfig, spec: CompiledSpec, options: ScheduleOptions, timezone: str, connection: Any
) -> tuple[ScheduleRow, bool, list[ScheduleRow], list[ScheduleRow]]:
    """Returns the schedule, whether it is new, and the others: those that were deleted, and those that go on."""
    if isinstance(runner, KubeflowRunnerConfig):
        made = kubeflow_schedules.create_schedule(
            runner,
            _set_force(spec, options.force),
            options.cron,
            timezone=timezone,
            catch_up=options.catch_up,
            max_concurrency=options.max_concurrency,
            replace=options.replace,
            client=connection,
        )
        replaced, others = ([_read_kubeflow(runner, s) for s in group] for group in (made.replaced, made.others))
        return _read_kubeflow(runner, made.schedule), made.is_new, replaced, others
    assert isinstance(runner, VertexRunnerConfig)
    before = vertex_client.list_schedules(runner, spec.pipeline_name)
    schedule = vertex_client.create_schedule(
        runner,
        spec,
        options.cron,
        timezone=timezone,
        catch_up=options.catch_up,
        max_concurrency=options.max_concurrency,
        use_cache=not options.force,
    )
    there = [_read_vertex(s) for s in before if s.name != schedule.name and s.state != "completed"]
    if options.replace:
        for other in there:
            vertex_client.delete_schedule(runner, other.id)
    is_new = schedule.name not in {s.name for s in before}
    return (_read_vertex(schedule), is_new, *((there, []) if options.replace else ([], there)))


def _list(runner: ClusterRunnerConfig, pipeline_name: str | None) -> list[ScheduleRow]:
    if isinstance(runner, VertexRunnerConfig):
        return [_read_vertex(schedule) for schedule in vertex_client.list_schedules(runner, pipeline_name)]
    assert isinstance(runner, KubeflowRunnerConfig)
    return [_read_kubeflow(runner, schedule) for schedule in kubeflow_schedules.list_schedules(runner, pipeline_name)]


def _read_kubeflow(runner: KubeflowRunnerConfig, schedule: kubeflow_schedules.Schedule) -> ScheduleRow:
    return ScheduleRow(
        id=schedule.id,
        name=schedule.name,
        pipeline=schedule.pipeline_name,
        cron=schedule.cron,
        timezone=runner.schedule_timezone,
        state="active" if schedule.enabled else _PAUSED,
        catch_up=schedule.catch_up,
        max_concurrency=schedule.max_concurrency,
    )


def _read_vertex(schedule: vertex_client.Schedule) -> ScheduleRow:
    return ScheduleRow(
        id=schedule.name.rpartition("/")[2],
        name=schedule.display_name,
        pipeline=schedule.pipeline_name,
        cron=schedule.cron,
        timezone=schedule.timezone,
        state=schedule.state,
        catch_up=schedule.catch_up,
        max_concurrency=schedule.max_concurrency,
    )


def _make_console() -> Console:
    return make_console()
