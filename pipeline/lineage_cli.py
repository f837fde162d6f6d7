"""`lineage` and its subcommands: questions to the metadata store. They read it and change nothing."""

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


def print_result(as_json: bool, value: Any, render: Callable[[], "RenderableType"]) -> None:
    """Prints an answer: `value` as JSON for programs, or what `render` makes of it for people."""
    if as_json:
        click.echo(json.dumps(value, indent=2, ensure_ascii=False))
        return
    from rich.console import Console

    from pipeline.console import PLAIN_WIDTH

    Console(highlight=False, width=None if sys.stdout.isatty() else PLAIN_WIDTH).print(render())


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
    from pipeline.lineage.impact import find_impact
    from pipeline.lineage.rerun import Place
    from pipeline.lineage.search_progress import show_search

    store = open_store(runner_name, root)
    with show_search() as on_progress:
        found = find_impact(
            store,
            subject,
            limit=None if show_all or as_json else limit,
            place=Place(runner_name=runner_name, root=root),
            on_progress=on_progress,
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
