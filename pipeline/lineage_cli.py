"""`lineage` and its subcommands: questions to the metadata store. Only `gc --yes` changes it."""

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli_options import ROOT, RUNNER, load_runner_file

if TYPE_CHECKING:
    from ml_metadata.metadata_store import MetadataStore
    from rich.console import RenderableType

JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
PIPELINE = click.option("--pipeline", "pipeline_name", metavar="NAME", help="Only of this pipeline.")

# As in pipeline.lineage.runs, which help must not wait for.
_STATES = ("complete", "failed", "running", "dead", "skipped", "partial")


@click.group("lineage")
def lineage_group() -> None:
    """Ask the metadata store where models come from, what was made from what, and what differs."""


def open_store(runner_name: str, root: str | None) -> "MetadataStore":
    """Returns the metadata store of a runner, opened for reading."""
    from pipeline.lineage.store import open_store as open_for_reading
    from pipeline.metadata_connection import make_connection_config

    return open_for_reading(make_connection_config(load_runner_file(runner_name, root)))


def find_runner_root(runner_name: str, root: str | None) -> str:
    """Returns the folder, or the address in a bucket, that a runner's places are below."""
    from components.storage import is_remote
    from configs.runner_schema import LocalRunnerConfig

    runner = load_runner_file(runner_name, root)
    found = runner.root if isinstance(runner, LocalRunnerConfig) else runner.pipeline_root
    if is_remote(found):
        announce_bucket(found)
    return found


def announce_bucket(place: str) -> None:
    """Says what takes half a minute: a bucket is read through TensorFlow's client. Local folders never need it."""
    import os

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if "tensorflow" not in sys.modules:
        click.echo(f"Loading TensorFlow, which reads {place} ...", err=True)


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

    from pipeline.lineage import show_view
    from pipeline.lineage.show import show

    found = show(open_store(runner_name, root), subject, pipeline_name)
    print_result(as_json, dataclasses.asdict(found), lambda: show_view.render(found))


@lineage_group.command("runs")
@click.option("--since", metavar="TIME", help="Only runs since then: 2026-11-24, 2026-11-24T10:00, 12h, 7d.")
@click.option("--blessed/--not-blessed", default=None, help="Only runs whose model was blessed, or was not.")
@click.option("--state", type=click.Choice(_STATES), help="Only runs that stand so.")
@click.option(
    "--where",
    "conditions",
    multiple=True,
    metavar="CONDITION",
    help="method=lora, train.learning_rate<1e-4, perplexity<=12, config~gsm8k; repeatable.",
)
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="How many at most.")
@click.option("--all", "show_all", is_flag=True, help="As many as there are.")
@PIPELINE
@JSON
@RUNNER
@ROOT
def runs_command(
    since: str | None,
    blessed: bool | None,
    state: str | None,
    conditions: tuple[str, ...],
    limit: int,
    show_all: bool,
    pipeline_name: str | None,
    as_json: bool,
    runner_name: str,
    root: str | None,
) -> None:
    """List runs, the newest first: how each ended, what it measured, and what the gate said.

    \b
    --where compares (= != < <= > >=, and ~ for "contains"):
      of the record   pipeline runner config method preset data seed code dirty hardware
      of the outcome  state blessed verdict pushed seconds, and every metric of the whole split
      of the configuration, every key with dots: train.learning_rate
    """
    import dataclasses
    from datetime import UTC, datetime

    from pipeline.lineage import runs_view
    from pipeline.lineage.runs import list_runs
    from pipeline.lineage.where import Condition, parse_condition, parse_since, require_known_keys

    wanted = [parse_condition(text) for text in conditions]
    wanted += [Condition(key="blessed", symbol="=", text=str(blessed))] if blessed is not None else []
    wanted += [Condition(key="state", symbol="=", text=state)] if state is not None else []
    start = parse_since(since, datetime.now(UTC)) if since is not None else None
    store = open_store(runner_name, root)
    found = list_runs(
        store,
        None if show_all else limit,
        pipeline_name=pipeline_name,
        since=start,
        checks=[condition.fits_record for condition in wanted if condition.is_of_record],
        outcomes=[condition.fits_outcome for condition in wanted if not condition.is_of_record],
        hints=[hint for condition in wanted if (hint := condition.make_hint())],
    )
    if not found:
        require_known_keys(store, wanted)
    print_result(
        as_json,
        [dataclasses.asdict(run) for run in found],
        lambda: runs_view.render(found, is_cut=not show_all and len(found) == limit),
    )


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


@lineage_group.command("export")
@click.argument("subject", metavar="[MODEL|RUN|ARTIFACT|PATH]", required=False)
@click.option("--format", "kind", type=click.Choice(["openlineage", "cyclonedx"]), help="What to write.")
@click.option("--output", metavar="FILE", help="Where to; standard output if not given.")
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


@lineage_group.command("verify")
@click.argument("subject", metavar="[MODEL|RUN|ARTIFACT|PATH]", required=False)
@click.option("--data/--no-data", "data", default=None, help="Only the source data files, or all but these.")
@click.option("--strict", is_flag=True, help="Fail on orphans and on what has no recorded hash, too.")
@click.option("--all", "show_all", is_flag=True, help="Show also what is as recorded.")
@JSON
@RUNNER
@ROOT
@click.pass_context
def verify_command(
    ctx: click.Context,
    subject: str | None,
    data: bool | None,
    strict: bool,
    show_all: bool,
    as_json: bool,
    runner_name: str,
    root: str | None,
) -> None:
    """Hash the files again that the store knows of, and say which are missing or changed.

    With a model: all that its chain needs, back to the data files. Without an argument: everything in the store, and what lies
    below the root that the store does not know. Exit code 4: something is not as recorded.
    """
    from pipeline import exit_codes
    from pipeline.lineage import verify_view
    from pipeline.lineage.byte_progress import show_bytes
    from pipeline.lineage.verify import verify

    store = open_store(runner_name, root)
    folder = find_runner_root(runner_name, root)
    with show_bytes("Hashing") as progress:
        found = verify(
            store,
            folder,
            subject,
            progress,
            with_data=data is not False,
            with_artifacts=data is not True,
            on_bucket=announce_bucket,
        )
    print_result(as_json, found.to_json(), lambda: verify_view.render(found, folder, show_all=show_all))
    if not found.is_as_recorded(strict):
        ctx.exit(exit_codes.NOT_AS_RECORDED)


@lineage_group.command("gc")
@click.option(
    "--keep", type=int, required=True, metavar="N", help="How many of each pipeline's newest runs stay whole."
)
@click.option("--yes/--dry-run", "is_confirmed", default=False, help="Remove, or only show what would be (default).")
@PIPELINE
@JSON
@RUNNER
@ROOT
@click.pass_context
def gc_command(
    ctx: click.Context,
    keep: int,
    is_confirmed: bool,
    pipeline_name: str | None,
    as_json: bool,
    runner_name: str,
    root: str | None,
) -> None:
    """Remove the files of artifacts that no pushed, blessed or recent model needs, and logs and checkpoints of their runs.

    The records stay in the store, marked as DELETED, and so does everything that went into a model that was pushed or blessed.
    """
    from pipeline import exit_codes
    from pipeline.lineage import collect_view
    from pipeline.lineage.byte_progress import show_bytes
    from pipeline.lineage.collect import collect
    from pipeline.lineage.collect_plan import make_plan
    from pipeline.metadata_connection import make_connection_config

    store = open_store(runner_name, root)
    folder = find_runner_root(runner_name, root)
    if not is_confirmed:
        with show_bytes(""):
            plan = make_plan(store, folder, keep, pipeline_name)
        print_result(as_json, plan.to_json() | {"removed": False}, lambda: collect_view.render_plan(plan, folder))
        return
    del store  # the next one writes
    connection = make_connection_config(load_runner_file(runner_name, root))
    with show_bytes("Removing") as progress:
        done = collect(connection, folder, keep, pipeline_name, on_removed=progress.advance, on_start=progress.start)
    value = done.plan.to_json() | {"removed": True, "failures": list(done.failures)}
    print_result(as_json, value, lambda: collect_view.render_collection(done, folder))
    if done.failures:
        ctx.exit(exit_codes.FAILED)


@lineage_group.command("impact")
@click.argument("subject", metavar="PATH|HASH|EXAMPLE_ID|PRESET|COMMIT|MODEL|ARTIFACT")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="Show so many models at most.")
@click.option("--all", "show_all", is_flag=True, help="Show all models.")
@JSON
@RUNNER
@ROOT
def impact_command(subject: str, limit: int, show_all: bool, as_json: bool, runner_name: str, root: str | None) -> None:
    """Show every model that was made from something, and what to run again if that changes.

    A data file (also one of a folder, a pattern or several spans), an example (its `example_id` or the beginning of it), a preset,
    the reference model of token cleaning, a commit, a model, or anything else that a run wrote. An example is looked for in
    the data that runs have kept, which reads their files. --json has all models.
    """
    import dataclasses

    from pipeline.lineage import impact_view
    from pipeline.lineage.byte_progress import show_bytes
    from pipeline.lineage.impact import find_impact
    from pipeline.lineage.rerun import Place

    found = find_impact(
        open_store(runner_name, root),
        subject,
        limit=None if show_all or as_json else limit,
        place=Place(runner_name=runner_name, root=root),
        show_progress=lambda: show_bytes("Searching the data"),
    )
    print_result(as_json, dataclasses.asdict(found), lambda: impact_view.render(found))


@lineage_group.command("diff")
@click.argument("before", metavar="[BEFORE]", required=False)
@click.argument("after", metavar="[AFTER]", required=False)
@click.option("--exit-code", is_flag=True, help="Exit with 1 if anything differs but times.")
@PIPELINE
@JSON
@RUNNER
@ROOT
def diff_command(
    before: str | None,
    after: str | None,
    exit_code: bool,
    pipeline_name: str | None,
    as_json: bool,
    runner_name: str,
    root: str | None,
) -> None:
    """Show what differs between two runs or models, and nothing that is equal.

    Each is the id of a run, the number or folder of a model, or of anything that a run wrote; `latest` is the newest run,
    `latest~1` the one before it, `pushed` the run of the model pushed last. Without AFTER the newest run of the same pipeline is
    taken, without both the newest two.
    """
    from pipeline.lineage import diff_view
    from pipeline.lineage.diff import find_diff, to_json

    found = find_diff(open_store(runner_name, root), before, after, pipeline_name)
    print_result(as_json, to_json(found), lambda: diff_view.render(found))
    if exit_code and not found.is_equal:
        sys.exit(1)
