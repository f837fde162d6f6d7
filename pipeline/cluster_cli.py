"""The commands for Kubeflow Pipelines and Vertex AI."""

import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from components import runtime
from configs.folders import find_folder_problem
from pipeline.cli_options import (
    CLUSTER,
    IMAGE,
    SET,
    check_written_path,
    load_cluster_files,
    load_runner_file,
    require_cluster,
)

if TYPE_CHECKING:
    from pipeline.kubeflow.arguments import ContainerRun

_FORCE = click.option(
    "--force",
    is_flag=True,
    help="Run all the same if nothing has changed. Vertex AI, which does not check this: run every step, without its cache.",
)


@click.command("compile")
@click.argument("config_path", metavar="CONFIG")
@CLUSTER
@SET
@IMAGE
@click.option(
    "--output",
    required=True,
    metavar="FILE",
    help="Where the compiled pipeline goes (.yaml).",
    callback=check_written_path,
)
def compile_command(
    config_path: str, runner_name: str, overrides: tuple[str, ...], image: str | None, output: str
) -> None:
    """Compile the pipeline of CONFIG for a cluster.

    Writes FILE (PipelineSpec 2.1) and beside it the values of its parameters. `run-spec` runs it on this machine.
    """
    path = Path(output)
    if path.suffix not in (".yaml", ".yml"):
        raise click.BadParameter(f"must end in .yaml. Received: {output!r}.", param_hint="--output")
    config, runner = load_cluster_files(config_path, runner_name, overrides, image)
    _prepare_to_compile()
    from pipeline.cluster_commands import compile_to_file

    compile_to_file(config, config_path, runner, path)


def _prepare_to_compile() -> None:
    runtime.set_defaults()
    # What TensorFlow says while it is loaded would stand among our lines.
    runtime.silence_tensorflow()


@click.command("run-spec")
@click.argument("spec", metavar="FILE")
@click.option("--root", default="runs/spec", show_default=True, metavar="FOLDER", help="What all places are below.")
@click.option("--param", "parameters", multiple=True, metavar="NAME=VALUE", help="A parameter's value; repeatable.")
@click.option(
    "--max-parallel",
    type=click.IntRange(1),
    default=min(4, len(os.sched_getaffinity(0))),
    show_default=True,
    help="Tasks side by side.",
)
def run_spec_command(spec: str, root: str, parameters: tuple[str, ...], max_parallel: int) -> None:
    """Run a compiled pipeline on this machine, as its cluster would.

    Every task is a process of its own, with the very command in FILE: run only files of people you trust. Nothing but files is shared. A dry run of what a
    cluster will do, without one: it does not cover the image, accounts and rights, buckets, and the cluster's own cache.
    """
    from pipeline.cluster_commands import run_spec_file

    pairs = [text.partition("=") for text in parameters]
    if wrong := [text for text, (_, equals, _) in zip(parameters, pairs, strict=True) if not equals]:
        raise click.UsageError(f"--param must be NAME=VALUE. Received: {', '.join(wrong)}.")
    if problem := find_folder_problem(root):
        raise click.UsageError(f"--root {problem} Received: {root!r}.")
    sys.exit(run_spec_file(Path(spec), {name: value for name, _, value in pairs}, Path(root), max_parallel))


def _of_run(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command of a container the options that tell it its run; it receives them read, as `run`."""

    @click.option("--settings", required=True, metavar="JSON")
    @click.option("--run-id", required=True, metavar="ID")
    @click.option("--pipeline-root", required=True, metavar="FOLDER")
    @click.option("--metadata", required=True, metavar="JSON")
    @click.option("--parameter", "parameters", multiple=True, nargs=2, metavar="KEY VALUE")
    @functools.wraps(command)
    def call(
        settings: str,
        run_id: str,
        pipeline_root: str,
        metadata: str,
        parameters: tuple[tuple[str, str], ...],
        **options: Any,
    ) -> None:
        runtime.set_defaults()
        from pipeline.kubeflow.arguments import read_arguments

        command(run=read_arguments(settings, run_id, pipeline_root, metadata, parameters), **options)

    return call


@click.command("check-run", hidden=True)
@click.option("--needed", required=True, metavar="FILE")
@click.option("--force", type=bool, required=True)
@_of_run
def check_run_command(run: "ContainerRun", needed: str, force: bool) -> None:
    """Say whether a run has anything to do: what its first container on Kubeflow Pipelines does."""
    from pipeline.kubeflow.check_run import check_run

    check_run(run, Path(needed), force=force)


@click.command("run-node", hidden=True)
@click.option("--node", "node_id", required=True, metavar="NODE")
@_of_run
def run_node_command(run: "ContainerRun", node_id: str) -> None:
    """Run one node of a run: what a container of Kubeflow Pipelines does. `compile` writes the arguments."""
    from pipeline.kubeflow.run_node import run_node_in_container

    sys.exit(run_node_in_container(run, node_id))


@click.command("submit")
@click.argument("config_path", metavar="CONFIG")
@CLUSTER
@SET
@IMAGE
@_FORCE
def submit_command(
    config_path: str, runner_name: str, overrides: tuple[str, ...], image: str | None, force: bool
) -> None:
    """Run the pipeline of CONFIG once on a cluster.

    On Kubeflow Pipelines the run ends at once if a blessed run had the same data, configuration, code, preset and packages.

    All that can be checked is checked before anything is submitted. Keys that are parameters of the compiled pipeline (see
    `parameters` of the runner) get their value by --set.

    Exit codes: 0 the cluster has accepted the run; 1 it has not; 2 the configuration or an option has problems.
    """
    config, runner = load_cluster_files(config_path, runner_name, overrides, image)
    _prepare_to_compile()
    from pipeline.schedule_commands import submit_run

    submit_run(config, config_path, runner, force=force)


@click.command("schedule")
@click.argument("config_path", metavar="CONFIG")
@CLUSTER
@SET
@IMAGE
@click.option("--cron", required=True, metavar="FIELDS", help='Minute, hour, day, month, weekday: "0 3 * * 1".')
@click.option(
    "--timezone", metavar="NAME", help="Of --cron, e.g. Europe/Berlin. Without it: UTC; Kubeflow: the installation's."
)
@click.option("--catch-up", is_flag=True, help="Make up for runs that were missed while the schedule was paused.")
@click.option("--max-concurrency", type=click.IntRange(1), default=1, show_default=True, help="Runs at once.")
@click.option("--replace", is_flag=True, help="Delete the other schedules of the pipeline.")
@_FORCE
def schedule_command(
    config_path: str,
    runner_name: str,
    overrides: tuple[str, ...],
    image: str | None,
    cron: str,
    timezone: str | None,
    catch_up: bool,
    max_concurrency: int,
    replace: bool,
    force: bool,
) -> None:
    """Run the pipeline of CONFIG on a cluster again and again.

    On Kubeflow Pipelines a run ends at once if a blessed run had the same data, configuration, code, preset and packages.

    The same call twice is one schedule; with anything else in it, it is another one beside the first. `schedules` lists,
    pauses, resumes and deletes them. Exit codes are those of `submit`.
    """
    config, runner = load_cluster_files(config_path, runner_name, overrides, image)
    _prepare_to_compile()
    from pipeline.schedule_commands import ScheduleOptions, make_schedule

    options = ScheduleOptions(
        cron=cron,
        timezone=timezone,
        catch_up=catch_up,
        max_concurrency=max_concurrency,
        replace=replace,
        force=force,
    )
    make_schedule(config, config_path, runner, options)


@click.group("schedules")
def schedules_group() -> None:
    """List, pause, resume and delete schedules."""


@schedules_group.command("list")
@CLUSTER
@click.option("--pipeline", "pipeline_name", metavar="NAME", help="Only schedules of this pipeline.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_schedules_command(runner_name: str, pipeline_name: str | None, as_json: bool) -> None:
    """List the schedules of a cluster."""
    from pipeline.schedule_commands import list_schedules

    list_schedules(require_cluster(load_runner_file(runner_name, None)), pipeline_name, as_json)


def _make_change_command(action: str, text: str) -> click.Command:
    @click.command(action, help=text)
    @click.argument("name", metavar="NAME|ID")
    @CLUSTER
    def change(name: str, runner_name: str) -> None:
        from pipeline.schedule_commands import change_schedule

        change_schedule(require_cluster(load_runner_file(runner_name, None)), action, name)

    return change


for _action, _text in (
    ("pause", "Start no more runs until it is resumed."),
    ("resume", "Start runs again."),
    ("delete", "Delete a schedule; its runs stay."),
):
    schedules_group.add_command(_make_change_command(_action, _text))

COMMANDS = (
    compile_command,
    run_spec_command,
    check_run_command,
    run_node_command,
    submit_command,
    schedule_command,
    schedules_group,
)
