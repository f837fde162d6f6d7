"""What `run` does around the runner: log file, summary, page, exit code. Imports no TensorFlow before the run does."""

import io
import json
import logging
import sys
import tempfile
from pathlib import Path

from ml_metadata.metadata_store.metadata_store import MetadataStore
from rich.console import Console

from components.errors import UserError
from components.storage import whole_file
from components.system_errors import check_room, explain_system_error
from configs.runner_schema import ClusterRunnerConfig, LocalRunnerConfig
from configs.schema import RunConfig
from pipeline import exit_codes, local_runner, report_page, report_store, summary
from pipeline.console import make_console, redirect_output
from pipeline.execution.child_process import (
    ChildDiedError,
    ChildError,
    ChildProcess,
    Interrupted,
    signals_as_exceptions,
)
from pipeline.execution.node_runner import NodeFailedError
from pipeline.execution.run_lock import hold_run
from pipeline.execution.run_record import NODES, PRESET_REVISION, RunRecord
from pipeline.execution.run_state import RUN_CONTEXT, claim_run, read_node
from pipeline.execution.scratch import describe_long_folder
from pipeline.execution.store_lock import lock_store
from pipeline.lineage.recorded import read_json
from pipeline.lineage.store import open_store
from pipeline.local_runner import WHOLE, Part
from pipeline.metadata_connection import make_connection_config, open_writable_store
from pipeline.paths import Paths, find_root
from pipeline.preset_lookup import describe_move, describe_other_weights, look_up_presets
from pipeline.repeats.decision import decide, record_skipped
from pipeline.repeats.growth import read_growth
from pipeline.repeats.inputs import INPUTS, make_record, require_same

# Without these there is nothing to sum up.
_REPORTED = ("ExampleGen", "Tokenizer", "Trainer", "CandidatePredictor", "Evaluator", "Pusher")


def run_pipeline(
    config: RunConfig,
    config_path: str,
    runner: LocalRunnerConfig,
    part: Part = WHOLE,
    *,
    skip_unchanged: bool = False,
    force: bool = False,
) -> int:
    """Runs the pipeline, prints its summary, writes its page, and returns the exit code.

    Args:
        config: The run.
        config_path: Where it was read from.
        runner: Where it runs.
        part: Which part of the pipeline.
        skip_unchanged: End at once if a blessed run had the very same inputs.
        force: Go on even so.
    """
    paths = Paths(root=Path(runner.root).resolve(), name=config.pipeline.name)
    try:
        check_room(paths.root, tempfile.gettempdir())
    except FileNotFoundError as error:
        raise UserError(
            f"a run needs a folder for temporary files that it can write to (TMPDIR). Received: {error.strerror}."
        ) from None
    run_id = local_runner.find_run_id(config, runner, part.resume)
    log_path = paths.log(run_id)
    with hold_run(paths.logs(run_id), run_id), redirect_output(log_path) as console:
        if part.resume is not None:
            _claim(runner, run_id)
        console.print(f"Pipeline [bold]{config.pipeline.name}[/], run {run_id}")
        console.print(f"Log: {log_path}", style="dim", soft_wrap=True, markup=False)
        if told := describe_long_folder():
            console.print(told, style="yellow", soft_wrap=True, markup=False)
        try:
            look_up_presets(config, console)
        except UserError as error:
            return explain_failure(error, False, log_path, console, can_resume=part.resume is not None)
        record = make_record(config, config_path)
        before: dict[str, str] = {}
        if part.resume is not None:
            try:
                before = _read_inputs(runner, run_id)
                require_same(before, json.loads(str(record[INPUTS])), run_id)
            except UserError as error:
                return explain_failure(error, False, log_path, console, can_resume=False)
            _tell_if_ended(runner, run_id, console)
        _tell_move(config, record, runner, console)
        if skip_unchanged and not _is_needed(config, record, runner, run_id, force, console):
            return 0
        if part.from_nodes or part.to_nodes or (part.resume is not None and not before):
            # It reads what earlier runs have made of their inputs, or does not come to its end: no later run is the same.
            record.pop(INPUTS)
        signals: list[str] = []
        try:
            with signals_as_exceptions() as signals:
                result = local_runner.run(config, record, runner, run_id, console, part)
                return _report(config, runner, result, console)
        except (NodeFailedError, Interrupted, UserError) as error:
            return explain_failure(error, bool(signals), log_path, console)


def _claim(runner: LocalRunnerConfig, run_id: str) -> None:
    connection = make_connection_config(runner)
    with lock_store(connection):
        claim_run(open_writable_store(connection), run_id)


def _tell_if_ended(runner: LocalRunnerConfig, run_id: str, console: Console) -> None:
    connection = make_connection_config(runner)
    with lock_store(connection):
        store = open_writable_store(connection)
        recorded = store.get_context_by_type_and_name(RUN_CONTEXT, run_id).custom_properties
        nodes = [node for node in read_json(recorded[NODES].string_value, list) if isinstance(node, str)]
        states = [read_node(store, recorded["pipeline_name"].string_value, run_id, node) for node in nodes]
    is_whole = set(_REPORTED) <= set(nodes)  # a run of a part goes on as a whole one
    if is_whole and all(state is not None and state.is_finished for state in states):
        told = f"{run_id} has ended: nothing is left of it to do. What is new since then, such as data, is read by a run without --resume."
        console.print(told, style="yellow", soft_wrap=True, markup=False, highlight=False)


def _read_inputs(runner: LocalRunnerConfig, run_id: str) -> dict[str, str]:
    """Returns what a run was started with; nothing where its record does not say so."""
    connection = make_connection_config(runner)
    with lock_store(connection):
        context = open_writable_store(connection).get_context_by_type_and_name(RUN_CONTEXT, run_id)
    text = context.custom_properties[INPUTS].string_value
    inputs = read_json(text, dict)
    if text and not inputs:
        raise UserError(
            f"a run goes on only where the metadata store says what it was started with. The record of {run_id} cannot be read: it is "
            "damaged. Start a new run: what has not changed comes from the cache."
        )
    return inputs


def _is_needed(
    config: RunConfig, record: RunRecord, runner: LocalRunnerConfig, run_id: str, force: bool, console: Console
) -> bool:
    """Returns whether there is anything to do, says why or why not, and records a run that is skipped."""
    connection = make_connection_config(runner)
    with lock_store(connection):
        store = open_writable_store(connection)
        decision = decide(store, config.pipeline.name, json.loads(str(record[INPUTS])), force=force)
        if not decision.is_needed:
            record_skipped(store, run_id, record, decision)
    console.print(str(decision), soft_wrap=True, markup=False)
    return decision.is_needed


def _tell_move(config: RunConfig, record: RunRecord, runner: LocalRunnerConfig, console: Console) -> None:
    """Says if a handle without a commit names another one than in the last run."""
    commit = record.get(PRESET_REVISION)
    if not commit:
        return
    connection = make_connection_config(runner)
    with lock_store(connection):
        told = describe_move(open_writable_store(connection), config, str(commit))
    if told:
        console.print(told, style="yellow", soft_wrap=True, markup=False, highlight=False)


def _tell_other_weights(runner: LocalRunnerConfig, result: local_runner.RunResult, console: Console) -> None:
    """Says if a name or a handle had other weights in the last run, as far as no commit says so."""
    connection = make_connection_config(runner)
    with lock_store(connection):
        told = describe_other_weights(open_writable_store(connection), result.artifact("Trainer", "model"))
    if told:
        console.print(f"\n{told}", style="yellow", soft_wrap=True, markup=False, highlight=False)


def _report(config: RunConfig, runner: LocalRunnerConfig, result: local_runner.RunResult, console: Console) -> int:
    if not set(_REPORTED) <= set(result.nodes):
        console.print(f"\nRan {', '.join(result.nodes)}: a part of the pipeline, of which there is no verdict.")
        return 0
    blessed = summary.is_blessed(result)
    try:
        _tell_result(config, runner, result, console)
    except Interrupted:
        raise
    except Exception as error:  # whatever it is: a model that was pushed is pushed
        logging.exception("the summary could not be made")
        reason = explain_system_error(error) or f"{type(error).__name__}: {error}"
        told = f"\nThe model is {'blessed' if blessed else 'not blessed'}. The summary of this run could not be made: {reason[:2000]}"
        console.print(f"{told}\nTraceback: {result.paths.log(result.run_id)}", soft_wrap=True, markup=False)
    return 0 if blessed else exit_codes.NOT_BLESSED


def _tell_result(
    config: RunConfig, runner: LocalRunnerConfig, result: local_runner.RunResult, console: Console
) -> None:
    with console.status("Summary"):
        text = summary.make_summary(config, result, _ask_for_samples(config, result), _read_growth(runner, result))
    console.print(text)
    _tell_other_weights(runner, result, console)
    try:
        place = result.paths.report(result.run_id)
        with whole_file(place) as stream, io.TextIOWrapper(stream, encoding="utf-8") as file:
            make_console(file).print(text)
        told = f"Report: {write_report_page(open_store(make_connection_config(runner)), runner, result.run_id)}"
    except (UserError, OSError) as error:  # the model is what it is, with or without a page
        told = f"The page of this run could not be written: {error}"
    console.print(f"\n{told}", soft_wrap=True, markup=False)
    console.print("\nNext:")
    for command in summary.list_next_commands(sys.argv[2:], result, config):
        console.print(f"  {command}", soft_wrap=True, markup=False)


def _read_growth(runner: LocalRunnerConfig, result: local_runner.RunResult) -> str:
    connection = make_connection_config(runner)
    with lock_store(connection):
        return read_growth(open_writable_store(connection), result.run_id)


def _ask_for_samples(config: RunConfig, result: local_runner.RunResult) -> list[summary.Sample]:
    """Completions by the new model; none if it cannot be asked, since the run has ended all the same."""
    outputs = (("CandidatePredictor", "predictions"), ("Tokenizer", "tokenized_examples"), ("Trainer", "model"))
    places = (result.artifact(node, key).uri for node, key in outputs)
    child = ChildProcess(
        summary.make_samples, (*places, config.evaluation.split), result.paths.node_log(result.run_id, "summary")
    )
    try:
        return [summary.Sample(**sample) for sample in child.wait()]
    except (UserError, ChildError, ChildDiedError) as error:
        logging.warning("no completions for the summary: %s", error)
        return []
    except BaseException:
        child.stop()
        raise


def explain_failure(
    error: Exception, interrupted: bool, log_path: Path, console: Console, *, can_resume: bool = True
) -> int:
    """Prints the cause that a user can mend, or the last words of a defect; the log has the traceback.

    Args:
        error: What ended the run.
        interrupted: Whether a signal did.
        log_path: Of the run.
        console: Where it is told.
        can_resume: Whether `--resume` could go on.
    """
    logging.error("%s", error, exc_info=error)
    node_id = error.node_id if isinstance(error, NodeFailedError) else "the run"
    cause: BaseException | None = error.__cause__ if isinstance(error, NodeFailedError) else error
    causes = []
    while cause is not None and cause not in causes:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    if interrupted:
        way = ", or with --resume as the same run" if can_resume else ""
        console.print(f"\n[yellow]Interrupted in {node_id}.[/] Run the same command again to go on{way}:")
        console.print("finished nodes do not run again, and training continues at its last checkpoint.")
        return exit_codes.INTERRUPTED
    mendable = [c for c in causes if isinstance(c, UserError)]
    if mendable:
        console.print("\n[red]The run stopped:[/]" if node_id == "the run" else f"\n[red]{node_id} stopped the run:[/]")
        console.print(str(mendable[0]), markup=False)
    else:
        console.print(f"\n[red]{node_id} failed:[/] ", end="")
        known = isinstance(causes[0], ChildError | ChildDiedError)
        console.print(f"{'' if known else f'{type(causes[0]).__name__}: '}{causes[0]}"[:2000], markup=False)
        if not isinstance(causes[0], ChildDiedError):
            console.print("This is not a problem of the configuration or the data that we know of.")
    if can_resume:
        console.print(
            "[dim]With --resume the same command goes on as the same run: finished nodes do not run again.[/]"
        )
    told = f"Traceback and all messages: {_find_log(log_path, node_id)}"
    console.print(told, style="dim", soft_wrap=True, markup=False)
    return exit_codes.FAILED


def _find_log(run_log: Path, node_id: str) -> Path:
    node_log = run_log.with_name(f"{node_id}.log")
    return node_log if node_log.is_file() else run_log


def write_report_page(
    store: MetadataStore,
    runner: LocalRunnerConfig | ClusterRunnerConfig,
    run_id: str | None,
    pipeline_name: str | None = None,
    page: str | None = None,
) -> Path:
    """Writes the page of a run; returns its place.

    Args:
        store: The runner's metadata store, opened for reading.
        runner: Where the run was.
        run_id: The run; None: the newest one that was evaluated.
        pipeline_name: Only runs of this pipeline.
        page: Where the page goes; None: into the root's `reports/`.

    Raises:
        UserError: There is no such run, or the file cannot be written.
    """
    found = report_store.load_report(store, run_id, pipeline_name)
    paths = Paths(root=Path(find_root(runner)).resolve(), name=found.pipeline_name)
    path = paths.report_page(found.run_id) if page is None else Path(page)
    report_page.write_page(found, path)
    return path
