"""`lineage show`, `runs`, `impact` and `diff`."""

import contextlib
import sys

import click

from pipeline.cli_options import ROOT, RUNNER
from pipeline.lineage_cli.options import JSON, PIPELINE, open_store, print_result, show_progress

# As in pipeline.lineage.runs, which help must not wait for.
_STATES = ("complete", "failed", "running", "dead", "skipped", "partial")


@click.command("show")
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


@click.command("runs")
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
    from pipeline.lineage.where import RunCondition, parse_condition, parse_since, require_known_keys

    wanted = [parse_condition(text) for text in conditions]
    wanted += [RunCondition(key="blessed", symbol="=", text=str(blessed))] if blessed is not None else []
    wanted += [RunCondition(key="state", symbol="=", text=state)] if state is not None else []
    start = parse_since(since, datetime.now(UTC)) if since is not None else None
    store = open_store(runner_name, root)
    with show_progress("Reading all runs ...") if show_all else contextlib.nullcontext():
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


@click.command("impact")
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


@click.command("diff")
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
