"""`lineage` and its subcommands: questions to the metadata store. They read it and change nothing."""

import contextlib
import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli_options import ROOT, RUNNER, load_runner_file

if TYPE_CHECKING:
    from ml_metadata.metadata_store import MetadataStore
    from rich.console import RenderableType

JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
PIPELINE = click.option("--pipeline", "pipeline_name", metavar="NAME", help="Only of this pipeline.")


@click.group("lineage")
def lineage_group() -> None:
    """Ask the metadata store where models come from, what was made from what, and what differs."""


def open_store(runner_name: str, root: str | None) -> "MetadataStore":
    """Returns the metadata store of a runner, opened for reading."""
    from pipeline.lineage.store import open_store as open_for_reading
    from pipeline.metadata_connection import make_connection_config

    return open_for_reading(make_connection_config(load_runner_file(runner_name, root)))


def print_result(as_json: bool, value: Any, render: Callable[[], "RenderableType"]) -> None:
    """Prints an answer: `value` as JSON for programs, or what `render` makes of it for people."""
    if as_json:
        click.echo(json.dumps(value, indent=2, ensure_ascii=False))
        return
    from rich.console import Console

    from pipeline.console import PLAIN_WIDTH

    Console(highlight=False, width=None if sys.stdout.isatty() else PLAIN_WIDTH).print(render())


def show_progress(text: str) -> contextlib.AbstractContextManager[object]:
    """Shows that something goes on, on the terminal's standard error; nothing where that is none."""
    from rich.console import Console

    return Console(stderr=True).status(text)


@lineage_group.command("show")
@click.argument("subject", metavar="[MODEL|RUN|ARTIFACT|PATH]", required=False)
@PIPELINE
@JSON
@RUNNER
@ROOT
def show_command(
    subject: str | None, pipeline_name: str | None, as_json: bool, runner_name: str, root: str | None
) -> None:
    """Show where a model came from, back to the data files; or a run, or anything that a run wrote.

    Without an argument: the model pushed last.
    """
    import dataclasses

    from pipeline.lineage import trace_view
    from pipeline.lineage.trace import trace

    found = trace(open_store(runner_name, root), subject, pipeline_name)
    print_result(as_json, dataclasses.asdict(found), lambda: trace_view.render(found))


@lineage_group.command("graph")
@click.argument("subject", metavar="[MODEL|RUN|ARTIFACT|PATH]", required=False)
@click.option(
    "--format",
    "format_name",
    type=click.Choice(["html", "svg", "mermaid", "dot"]),
    help="Without it: what the name of --output says, or a page.",
)
@click.option(
    "--output",
    metavar="FILE",
    help="`-` is standard output. Without it: text is printed, pages and pictures go into the root's `reports/`.",
)
@click.option(
    "--last", type=click.IntRange(1, 200), metavar="N", help="Draw the N newest runs, each in a lane of its own."
)
@PIPELINE
@JSON
@RUNNER
@ROOT
def graph_command(
    subject: str | None,
    format_name: str | None,
    output: str | None,
    last: int | None,
    pipeline_name: str | None,
    as_json: bool,
    runner_name: str,
    root: str | None,
) -> None:
    """Draw the graph: a model with all that it was made from and its verdict, a run, an artifact, or the newest runs.

    Without an argument: the model pushed last. A page shows properties on a click, searches, and needs no network.
    """
    from pipeline.lineage.drawing import formats, mermaid
    from pipeline.lineage.drawing.select import load_drawing

    if last is not None and subject is not None:
        raise click.UsageError("--last draws the newest runs: leave out the argument, or --last.")
    if pipeline_name is not None and subject is not None:
        raise click.UsageError("--pipeline is for the newest model or runs: leave out the argument, or --pipeline.")
    if as_json and (format_name or output):
        raise click.UsageError("--json prints the graph as data: leave out --format and --output.")
    chosen = formats.choose_format(format_name, output)
    with show_progress("Drawing the graph ...") if last is not None else contextlib.nullcontext():
        drawing = load_drawing(open_store(runner_name, root), subject, pipeline_name, last)
        text = "" if as_json else formats.render(drawing, chosen)
    if as_json:
        import dataclasses

        print_result(True, dataclasses.asdict(drawing), str)
        return
    if chosen == "mermaid" and mermaid.is_too_large(text, drawing):
        click.echo(
            f"Note: Mermaid refuses more than {mermaid.MAX_EDGES} edges or {mermaid.MAX_CHARACTERS:,} characters unless `maxEdges` "
            f"and `maxTextSize` are configured; this has {len(drawing.edges):,} and {len(text):,}. "
            "`--format svg` and `html` draw any size.",
            err=True,
        )
    if output == "-" or (output is None and chosen in formats.TEXT_FORMATS):
        click.echo(text, nl=False)
        return
    from pathlib import Path

    from pipeline.html import write_whole
    from pipeline.paths import find_root, make_lineage_path

    path = (
        Path(output)
        if output
        else make_lineage_path(
            Path(find_root(load_runner_file(runner_name, root))).resolve(),
            drawing.pipeline,
            f"{drawing.name}{formats.SUFFIXES[chosen][0]}",
        )
    )
    write_whole(path, text, "--output")
    click.echo(f"{'Page' if chosen == 'html' else 'Graph'}: {path}")
