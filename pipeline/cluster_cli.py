"""The commands for Kubeflow Pipelines and Vertex AI."""

import os
import sys
from pathlib import Path

import click

from components import runtime
from pipeline.cli_options import RUNNER, SET, load_files

_IMAGE = click.option("--image", metavar="NAME:TAG", help="The container image that holds the code.")


@click.command("compile")
@click.argument("config_path", metavar="CONFIG")
@RUNNER
@SET
@_IMAGE
@click.option("--output", required=True, metavar="FILE", help="Where the compiled pipeline goes (.yaml).")
def compile_command(
    config_path: str, runner_name: str, overrides: tuple[str, ...], image: str | None, output: str
) -> None:
    """Compile the pipeline of CONFIG for a cluster.

    Writes FILE (PipelineSpec 2.1) and beside it the values of its parameters. `run-spec` runs it on this machine.
    """
    from pipeline.cluster_commands import compile_to_file

    config, runner = load_files(config_path, runner_name, overrides, None, image)
    runtime.set_defaults()
    compile_to_file(config, config_path, runner, Path(output))


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

    Every task is a process of its own, with the very command in FILE; nothing but files is shared. A dry run of what a
    cluster will do, without one: it does not cover the image, accounts and rights, buckets, and the cluster's own cache.
    """
    from pipeline.cluster_commands import run_spec_file

    pairs = [text.partition("=") for text in parameters]
    if wrong := [text for text, (_, equals, _) in zip(parameters, pairs, strict=True) if not equals]:
        raise click.UsageError(f"--param must be NAME=VALUE. Received: {', '.join(wrong)}.")
    sys.exit(run_spec_file(Path(spec), {name: value for name, _, value in pairs}, Path(root), max_parallel))


@click.command("run-node", hidden=True)
@click.option("--node", "node_id", required=True, metavar="NODE")
@click.option("--settings", required=True, metavar="JSON")
@click.option("--run-id", required=True, metavar="ID")
@click.option("--pipeline-root", required=True, metavar="FOLDER")
@click.option("--metadata", required=True, metavar="JSON")
@click.option("--parameter", "parameters", multiple=True, nargs=2, metavar="KEY VALUE")
def run_node_command(
    node_id: str,
    settings: str,
    run_id: str,
    pipeline_root: str,
    metadata: str,
    parameters: tuple[tuple[str, str], ...],
) -> None:
    """Run one node of a run: what a container of Kubeflow Pipelines does. `compile` writes the arguments."""
    runtime.set_defaults()
    from pipeline.kubeflow.run_node import run_node_in_container

    sys.exit(run_node_in_container(node_id, settings, run_id, pipeline_root, metadata, parameters))
