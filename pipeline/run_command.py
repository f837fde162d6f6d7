"""What `run` does around the runner: log file, summary, page, exit code. Imports no TensorFlow before the run does."""

import logging
import sys
from pathlib import Path

from rich.console import Console

from components.errors import UserError
from configs.schema import RunConfig, RunnerConfig
from pipeline import exit_codes, lineage_store, local_runner, report_page, report_store, summary
from pipeline.console import redirect_output
from pipeline.metadata_connection import make_connection_config
from pipeline.paths import Paths


def run_pipeline(config: RunConfig, config_path: str, runner: RunnerConfig) -> int:
    """Runs the pipeline, prints its summary, writes its page, and returns the exit code."""
    run_id = local_runner.make_run_id()
    paths = Paths(root=Path(runner.root).resolve(), name=config.pipeline.name)
    log_path = paths.log(run_id)
    with redirect_output(log_path) as console:
        console.print(f"Pipeline [bold]{config.pipeline.name}[/], run {run_id}")
        console.print(f"[dim]Log: {log_path}[/]", soft_wrap=True)
        signals: list[str] = []
        try:
            with local_runner.signals_as_exceptions() as signals:
                result = local_runner.run(config, config_path, runner, run_id, console)
                return _report(config, runner, result, console)
        except (local_runner.NodeFailedError, local_runner.Interrupted) as error:
            return explain_failure(error, bool(signals), log_path, console)


def _report(config: RunConfig, runner: RunnerConfig, result: local_runner.RunResult, console: Console) -> int:
    with console.status("Summary"):
        blessed = summary.is_blessed(result)
        samples = summary.make_samples(result, config.evaluation.split)
        text = summary.make_summary(config, result, samples)
    console.print(text)
    with result.paths.report(result.run_id).open("w", encoding="utf-8") as file:
        Console(file=file, width=120, highlight=False).print(text)
    try:
        told = f"Report: {write_report_page(runner, result.run_id)}"
    except UserError as error:  # the model is what it is, with or without a page
        told = f"The page of this run could not be written: {error}"
    console.print(f"\n{told}", soft_wrap=True, markup=False)
    console.print("\nNext:")
    for command in summary.list_next_commands(sys.argv[2:], result, config):
        console.print(f"  {command}", soft_wrap=True, markup=False)
    return 0 if blessed else exit_codes.NOT_BLESSED


def explain_failure(error: Exception, interrupted: bool, log_path: Path, console: Console) -> int:
    """Prints the cause that a user can mend, or the last words of a defect; the log has the traceback."""
    logging.error("%s", error, exc_info=error)
    node_id = error.node_id if isinstance(error, local_runner.NodeFailedError) else "the run"
    cause: BaseException | None = error.__cause__ if isinstance(error, local_runner.NodeFailedError) else error
    causes = []
    while cause is not None and cause not in causes:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    if interrupted:
        console.print(
            f"\n[yellow]Interrupted in {node_id}.[/] Run the same command again to go on: finished nodes are cached,"
        )
        console.print("and training continues at its last checkpoint.")
        return exit_codes.INTERRUPTED
    mendable = [c for c in causes if isinstance(c, UserError)]
    if mendable:
        console.print(f"\n[red]{node_id} stopped the run:[/]")
        console.print(str(mendable[0]), markup=False)
    else:
        console.print(f"\n[red]{node_id} failed:[/] ", end="")
        console.print(f"{type(causes[0]).__name__}: {causes[0]}"[:2000], markup=False)
        console.print("This is not a problem of the configuration or the data that we know of.")
    console.print(f"[dim]Traceback and all messages: {log_path}[/]", soft_wrap=True)
    return exit_codes.FAILED


def write_report_page(
    runner: RunnerConfig, run_id: str | None, pipeline_name: str | None = None, page: str | None = None
) -> Path:
    """Writes the page of a run; returns its place.

    Args:
        runner: Where the run was.
        run_id: The run; None: the newest one that was evaluated.
        pipeline_name: Only runs of this pipeline.
        page: Where the page goes; None: into the root's `reports/`.

    Raises:
        UserError: There is no such run, or the file cannot be written.
    """
    store = lineage_store.open_store(make_connection_config(runner))
    found = report_store.load_report(store, run_id, pipeline_name)
    paths = Paths(root=Path(runner.root).resolve(), name=found.pipeline_name)
    path = paths.report_page(found.run_id) if page is None else Path(page)
    report_page.write_page(found, path)
    return path
