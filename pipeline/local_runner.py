"""Runs a pipeline on this machine: each node in a process of its own, independent ones side by side."""

import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml
from ml_metadata.proto import metadata_store_pb2
from rich.console import Console
from rich.padding import Padding

from components.errors import UserError
from configs.load import dump_config
from configs.runner_schema import LocalRunnerConfig
from configs.schema import RunConfig
from pipeline import receipt_view
from pipeline.beam.options import make_beam_args
from pipeline.execution.child_process import ChildDiedError, ChildError, ChildProcess
from pipeline.execution.failed_outputs import remove_failed_outputs
from pipeline.execution.node_launcher import CompiledPipeline, compile_pipeline
from pipeline.execution.node_runner import NodeFailedError, run_node
from pipeline.execution.run_display import RunDisplay
from pipeline.execution.run_record import RunRecord, hash_project_code, write_run_record
from pipeline.execution.run_state import NodeState, close_dead_runs, find_run
from pipeline.execution.store_lock import lock_store
from pipeline.execution.task_graph import RunningTasks, run_tasks
from pipeline.lineage.flatten import flatten
from pipeline.lineage.recorded import read_config
from pipeline.metadata_connection import ConnectionConfig, make_connection_config, open_writable_store
from pipeline.paths import Paths
from pipeline.receipt_report import RECEIPT_FILE, read_receipt
from pipeline.repeats.growth import tell_growth

_MAX_AUTO_NODES = 4
_ACCELERATORS = ("/dev/nvidia0", "/dev/accel0", "/dev/vfio/0", "/dev/kfd")


@dataclass(frozen=True, kw_only=True)
class Part:
    """Which part of a pipeline runs.

    Attributes:
        from_nodes: These and what follows; all if empty.
        to_nodes: These and what they need; all if empty.
        resume: The run to go on with: an id, "" for the newest, or None for a new run.
    """

    from_nodes: tuple[str, ...] = ()
    to_nodes: tuple[str, ...] = ()
    resume: str | None = None


WHOLE = Part()


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """A finished run."""

    run_id: str
    paths: Paths
    nodes: dict[str, NodeState]

    def artifact(self, node_id: str, key: str) -> metadata_store_pb2.Artifact:
        """Returns the one output artifact `key` of a node."""
        (result,) = self.nodes[node_id].outputs[key]
        return result


def make_run_id() -> str:
    """Returns a new run id; ids sort by time."""
    return datetime.now().strftime("%Y%m%d-%H%M%S-%f")


def find_run_id(config: RunConfig, runner: LocalRunnerConfig, resume: str | None) -> str:
    """Returns the id of a new run, or of the one to go on with.

    Raises:
        UserError: If there is none to go on with, or it had another configuration or other code.
    """
    if resume is None:
        return make_run_id()
    connection = make_connection_config(runner)
    with lock_store(connection):
        context = find_run(open_writable_store(connection), config.pipeline.name, resume or None)
    recorded = {name: value.string_value for name, value in context.custom_properties.items()}
    if not read_config(recorded.get("config")) or "code_sha256" not in recorded:
        raise UserError(
            f"a run goes on only where the metadata store says what it was started with. The record of {context.name} does not: it "
            "is damaged. Start a new run: what has not changed comes from the cache."
        )
    if changed := _list_changes(recorded["config"], dump_config(config)):
        raise UserError(
            f"a run goes on only with the configuration that it was started with. Other in {context.name}: "
            f"{'; '.join(changed)}. Give the same, or start a new run: what has not changed comes from the cache."
        )
    if recorded["code_sha256"] != hash_project_code():
        raise UserError(
            f"a run goes on only with the code that it was started with; the code has changed since {context.name}. Start a new "
            "run: what has not changed comes from the cache."
        )
    return context.name


def run(
    config: RunConfig,
    record: RunRecord,
    runner: LocalRunnerConfig,
    run_id: str,
    console: Console,
    part: Part = WHOLE,
) -> RunResult:
    """Runs every node that is not cached, and prints a line for each.

    Args:
        config: The run.
        record: See `pipeline.repeats.inputs.make_record`.
        runner: Where it runs.
        run_id: See `find_run_id`.
        console: Where the lines go.
        part: Which part of the pipeline.

    Raises:
        NodeFailedError: If a node fails; the others keep their results, and a repeated run takes them from the cache.
        UserError: If the metadata store cannot be reached.
    """
    paths = Paths(root=Path(runner.root).resolve(), name=config.pipeline.name)
    return run_nodes(
        create,
        (config, paths, make_beam_args(runner.beam)),
        paths,
        runner,
        record,
        run_id,
        console,
        part,
    )


def create(config: RunConfig, paths: Paths, beam_args: list[str]) -> Any:
    """Returns the TFX pipeline of a run; to be called in a process that has TFX."""
    from pipeline.pipeline import create_pipeline

    return create_pipeline(config, places=paths.places, beam_pipeline_args=beam_args)


def run_nodes(
    create: Callable[..., Any],
    arguments: tuple[Any, ...],
    paths: Paths,
    runner: LocalRunnerConfig,
    record: RunRecord,
    run_id: str,
    console: Console,
    part: Part = WHOLE,
) -> RunResult:
    """Runs every node of a pipeline that is not cached, and prints a line for each.

    Args:
        create: Makes the TFX pipeline; a function of a module, called in a process that has TFX.
        arguments: Of `create`.
        paths: Where it keeps what it writes.
        runner: Where it runs.
        record: See `make_run_record`.
        run_id: See `find_run_id`.
        console: Where the lines go.
        part: Which part of the pipeline.

    Raises:
        NodeFailedError: If a node fails.
        UserError: If the metadata store cannot be reached.
    """
    connection = make_connection_config(runner)
    for folder in (paths.places.artifacts, paths.places.serving, paths.places.checkpoints):
        Path(folder).mkdir(parents=True, exist_ok=True)
    with lock_store(connection):
        store = open_writable_store(connection)
        # Before anything takes its time: a run that is interrupted now is the newest one all the same.
        write_run_record(store, run_id, record)
        dead = close_dead_runs(store, paths.name)
        try:
            remove_failed_outputs(store, paths.name, paths.places.artifacts)
        except OSError as error:  # no reason not to run
            logging.warning("what killed nodes have left is not removed: %s", error)
    display = RunDisplay(console)
    tasks = RunningTasks()
    with display.live():
        for name in dead:
            display.print(
                f"[dim]Run {name} was killed; its unfinished nodes are marked as failed. --resume {name} goes on.[/]"
            )
        line = display.start("Loading TensorFlow and TFX")
        try:
            child = ChildProcess(
                compile_pipeline,
                (create, arguments, run_id, connection, part.from_nodes, part.to_nodes),
                paths.log(run_id),
            )
            tasks.add("compile", child.stop)
            pipeline = CompiledPipeline.from_json(child.wait())
        except (ChildError, ChildDiedError) as error:
            line.end("[red]✗[/]")
            raise NodeFailedError("Compiling the pipeline") from error
        except BaseException:
            tasks.stop_all()
            line.end("[red]✗[/]")
            raise
        tasks.remove("compile")
        line.end("·")
        with lock_store(connection):
            write_run_record(open_writable_store(connection), run_id, record, pipeline.upstream)
        nodes = _run_all(pipeline, run_id, connection, paths, display, tasks, _count_parallel(runner))
    return RunResult(run_id=run_id, paths=paths, nodes=nodes)


def _run_all(
    pipeline: CompiledPipeline,
    run_id: str,
    connection: ConnectionConfig,
    paths: Paths,
    display: RunDisplay,
    tasks: RunningTasks,
    max_parallel: int,
) -> dict[str, NodeState]:
    nodes: dict[str, NodeState] = {}
    lock = threading.Lock()

    def run_one(node_id: str) -> None:
        line = display.start(node_id)
        try:
            state = run_node(
                pipeline,
                run_id,
                node_id,
                connection,
                paths.node_log(run_id, node_id),
                on_start=lambda child: tasks.add(node_id, child.stop),
                on_text=line.write,
            )
            growth = tell_growth(connection, pipeline.name, run_id, state)
        except BaseException:
            line.end("[red]✗[/]")
            show_receipt(display, paths.stopped_receipt(run_id, node_id))
            raise
        finally:
            tasks.remove(node_id)
        with lock:
            nodes[node_id] = state
        line.end("[dim]=[/]" if state.cached else "[green]✓[/]", "cached" if state.cached else growth)
        for artifact in state.outputs.get("receipt", []) if not state.cached else []:
            show_receipt(display, Path(artifact.uri) / RECEIPT_FILE)

    failed = run_tasks(pipeline.upstream, run_one, max_parallel, tasks.stop_all)
    for error in failed.values():
        raise error
    return {node_id: nodes[node_id] for node_id in pipeline.upstream}


def show_receipt(display: RunDisplay, path: Path) -> None:
    """Prints the receipt of a training, if there is one."""
    if not path.is_file():
        return
    try:
        receipt = read_receipt(path)
    except UserError as error:  # it is there to be read, not to end a run
        logging.warning("the receipt is not shown: %s", error)
        return
    display.show(
        lambda console: Padding(receipt_view.render_for(receipt, console, compact=True), (0, 0, 1, 2), expand=False)
    )


def _count_parallel(runner: LocalRunnerConfig) -> int:
    if runner.max_parallel_nodes != "auto":
        return runner.max_parallel_nodes
    if any(Path(device).exists() for device in _ACCELERATORS):
        return 1
    return min(_MAX_AUTO_NODES, len(os.sched_getaffinity(0)))


def _list_changes(before: str, now: str) -> list[str]:
    old, new = flatten(read_config(before)), flatten(yaml.safe_load(now))
    return [
        f"{key} ({old.get(key)!r}, now {new.get(key)!r})"
        for key in sorted({*old, *new})
        if old.get(key) != new.get(key)
    ]
