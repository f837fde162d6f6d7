"""`lineage verify` and `gc`: the files that the store knows of."""

import click

from pipeline.cli_options import ROOT, RUNNER, load_runner_file
from pipeline.lineage_cli.options import JSON, PIPELINE, announce_bucket, find_runner_root, open_store, print_result


@click.command("verify")
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


@click.command("gc")
@click.option(
    "--keep", type=int, required=True, metavar="N", help="How many of each pipeline's newest runs stay whole."
)
@click.option("--yes/--dry-run", "is_confirmed", default=False, help="Remove, or only show what would be (default).")
@click.option(
    "--orphans",
    "with_leftovers",
    is_flag=True,
    help="Also what killed or failed executions have left and nothing has touched for a day.",
)
@PIPELINE
@JSON
@RUNNER
@ROOT
@click.pass_context
def gc_command(
    ctx: click.Context,
    keep: int,
    is_confirmed: bool,
    with_leftovers: bool,
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
            plan = make_plan(store, folder, keep, pipeline_name, with_leftovers)
        print_result(as_json, plan.to_json() | {"removed": False}, lambda: collect_view.render_plan(plan, folder))
        return
    del store  # the next one writes
    connection = make_connection_config(load_runner_file(runner_name, root))
    with show_bytes("Removing") as progress:
        done = collect(
            connection,
            folder,
            keep,
            pipeline_name,
            with_leftovers,
            on_removed=progress.advance,
            on_start=progress.start,
        )
    value = done.plan.to_json() | {"removed": True, "failures": list(done.failures)}
    print_result(as_json, value, lambda: collect_view.render_collection(done, folder))
    if done.failures:
        ctx.exit(exit_codes.FAILED)
