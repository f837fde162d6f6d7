"""The command `receipt`: what the loss of a run's trainings sees."""

from pathlib import Path

import click

from pipeline.cli_options import HTML, ROOT, RUNNER, load_runner_file, open_store


@click.command("receipt")
@click.argument("file", metavar="[FILE]", required=False)
@click.option("--run", "run_id", metavar="ID", help="The run. Without it: the newest one.")
@click.option("--pipeline", "pipeline_name", metavar="NAME", help="Only runs of this pipeline.")
@HTML
@click.option("--json", "as_json", is_flag=True, help="Print the receipts as JSON; no page.")
@RUNNER
@ROOT
def receipt_command(
    file: str | None,
    run_id: str | None,
    pipeline_name: str | None,
    page: str | None,
    as_json: bool,
    runner_name: str,
    root: str | None,
) -> None:
    """Show what the loss of a training sees: counts, broken rules, and examples with their mask; and write a page.

    A run makes the receipt before the first step of each training, and stops where a rule of its section `receipt` says so.
    FILE is a receipt that such a run has left.
    """

    from pipeline import receipt_page, receipt_store, receipt_view
    from pipeline.console import make_console
    from pipeline.paths import Paths, find_root
    from pipeline.receipt_report import read_receipt

    if as_json and page is not None:
        raise click.UsageError("give --html or --json, not both.")
    if file is not None and (run_id is not None or pipeline_name is not None):
        raise click.UsageError("give FILE, or --run and --pipeline, not both.")
    runner = load_runner_file(runner_name, root)
    folder = Path(find_root(runner)).resolve()
    if file is None:
        found = receipt_store.load_receipts(open_store(runner), folder, run_id, pipeline_name)
    else:
        path = Path(file).resolve()
        run, _, node = path.stem.partition(".")
        receipts = {node: read_receipt(path)}
        found = receipt_store.RunReceipts(run_id=run, pipeline_name=path.parent.name, receipts=receipts)
    if as_json:
        click.echo(receipt_view.to_json(found.run_id, found.pipeline_name, found.receipts))
        return
    console = make_console()
    console.print(f"Run {found.run_id}, pipeline {found.pipeline_name}", markup=False)
    for node, receipt in found.receipts.items():
        if len(found.receipts) > 1:
            console.print(f"\n[bold]{node}[/]")
        console.print()
        console.print(receipt_view.render_for(receipt, console))
    paths = Paths(root=folder, name=found.pipeline_name)
    target = paths.receipt_page(found.run_id) if page is None else Path(page)
    receipt_page.write_page(found, target)
    console.print(f"\nPage: {target}", soft_wrap=True, markup=False)
