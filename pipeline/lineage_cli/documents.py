"""`lineage graph` and `export`: what is known, as a picture or a document."""

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

import click

from components.harmless import escape_json
from pipeline.cli_options import ROOT, RUNNER, check_written_path, load_runner_file
from pipeline.lineage_cli.options import (
    JSON,
    PIPELINE,
    open_store,
    print_result,
    show_progress,
)


@click.command("graph")
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
    callback=check_written_path,
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
    from pipeline.html import write_whole
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
    if chosen == "mermaid" and (note := mermaid.find_limit(text, drawing)):
        click.echo(note, err=True)
    if output == "-" or (output is None and chosen in formats.TEXT_FORMATS):
        click.echo(text, nl=False)
        return
    path = formats.find_path(drawing, chosen, output, load_runner_file(runner_name, root))
    write_whole(path, text, "--output")
    click.echo(f"{'Page' if chosen == 'html' else 'Graph'}: {path}")


@click.command("export")
@click.argument("subject", metavar="[MODEL|RUN|ARTIFACT|PATH]", required=False)
@click.option("--format", "kind", type=click.Choice(["openlineage", "cyclonedx"]), help="What to write.")
@click.option("--output", metavar="FILE", help="Where to; standard output if not given.", callback=check_written_path)
@click.option(
    "--namespace",
    envvar="OPENLINEAGE_NAMESPACE",
    default="lm-fine-tuning",
    show_default=True,
    show_envvar=True,
    help="openlineage: of the jobs.",
)
@click.option("--sign-key", metavar="FILE", help="cyclonedx: private key (PEM) to sign with.")
@click.option("--check", "checked", metavar="FILE", help="Instead: check a signed bill of materials.")
@click.option("--public-key", metavar="FILE", help="--check: the key (PEM) that must have signed.")
@PIPELINE
@JSON
@RUNNER
@ROOT
def export_command(
    subject: str | None,
    kind: str | None,
    output: str | None,
    namespace: str,
    sign_key: str | None,
    checked: str | None,
    public_key: str | None,
    pipeline_name: str | None,
    as_json: bool,
    runner_name: str,
    root: str | None,
) -> None:
    """Export runs as OpenLineage events, or a model's bill of materials (CycloneDX ML-BOM).

    Without an argument: the model pushed last. The passphrase of --sign-key is read from LINEAGE_SIGN_PASSPHRASE. What is written
    fits the published schema; with --json and --output, what was written is told as JSON.
    """
    if checked is not None:
        if subject or kind or output or sign_key:
            raise click.UsageError("--check stands alone, or with --public-key: it reads a file and exports nothing.")
        _check_bom(checked, public_key, as_json)
        return
    if kind is None:
        raise click.UsageError("--format must be openlineage or cyclonedx.")
    if public_key is not None:
        raise click.UsageError("--public-key needs --check.")
    if sign_key is not None and kind != "cyclonedx":
        raise click.UsageError("--sign-key needs --format cyclonedx: OpenLineage has no signatures.")
    from pipeline.lineage.export.documents import export_bom, export_events

    store = open_store(runner_name, root)
    if kind == "openlineage":
        parts = export_events(store, subject, pipeline_name, namespace)
    else:
        parts = iter([export_bom(store, subject, pipeline_name, sign_key)])
    _write_export(kind, parts, output, as_json)


def _write_export(kind: str, parts: Iterator[bytes], output: str | None, as_json: bool) -> None:
    from rich.text import Text

    from pipeline.lineage.export.canonical import write_whole

    if output is None and sys.stdout.isatty():
        for part in parts:
            click.echo(escape_json(part.decode()), nl=False)
        return
    if output is None:
        sys.stdout.buffer.writelines(parts)
        sys.stdout.buffer.flush()
        return
    sha256, count = write_whole(output, parts)
    told: dict[str, Any] = {"format": kind, "file": output, "sha256": sha256}
    if kind == "openlineage":
        told["events"] = count
    what = f"{count:,} events" if kind == "openlineage" else "the bill of materials"
    print_result(
        as_json, told, lambda: Text(f"Wrote {what} to {output}\nsha256 {sha256}", overflow="ignore", no_wrap=True)
    )


def _check_bom(path: str, public_key: str | None, as_json: bool) -> None:
    from rich.text import Text

    from pipeline.lineage.export.check import check_file

    signer = check_file(path, public_key)
    whose = (
        "the given key"
        if signer.is_trusted
        else "a key that only the file itself names: compare its thumbprint, or give --public-key"
    )
    text = (
        f"{path} is valid, and unchanged since it was signed\n"
        f"with {whose}.\n{signer.algorithm}, thumbprint {signer.thumbprint}"
    )
    told = {"file": path, "algorithm": signer.algorithm, "thumbprint": signer.thumbprint, "trusted": signer.is_trusted}
    print_result(as_json, told, lambda: Text(text, overflow="ignore", no_wrap=True))
