"""Runs a pipeline on this machine, node by node, in this process."""

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from ml_metadata.proto import metadata_store_pb2
from rich.console import Console

from components.errors import UserError
from configs.load import dump_config
from configs.schema import RunConfig, RunnerConfig
from pipeline.metadata_connection import make_connection_config
from pipeline.paths import Paths
from pipeline.run_record import make_run_record, write_run_record


class Interrupted(Exception):  # noqa: N818 - it is no error
    """A signal asked the run to stop. No BaseException, so that TFX marks the running node as failed."""


class NodeFailedError(Exception):
    """A node failed; its cause is this exception's `__cause__`."""

    def __init__(self, node_id: str):
        self.node_id = node_id
        super().__init__(f"{node_id} failed")


@dataclass(frozen=True, kw_only=True)
class NodeResult:
    """What became of one node.

    Attributes:
        node_id: Its name.
        cached: True if an earlier execution's outputs were taken.
        seconds: Wall time.
        outputs: Its output artifacts by key.
        execution: Its execution in the metadata store.
    """

    node_id: str
    cached: bool
    seconds: float
    outputs: dict[str, list[metadata_store_pb2.Artifact]] = field(repr=False)
    execution: metadata_store_pb2.Execution = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """A finished run."""

    run_id: str
    paths: Paths
    nodes: dict[str, NodeResult]

    def artifact(self, node_id: str, key: str) -> metadata_store_pb2.Artifact:
        """Returns the one output artifact `key` of a node."""
        (result,) = self.nodes[node_id].outputs[key]
        return result


def make_run_id() -> str:
    """Returns a new run id; ids sort by time."""
    return datetime.now().strftime("%Y%m%d-%H%M%S-%f")


def run(config: RunConfig, config_path: str, runner: RunnerConfig, run_id: str, console: Console) -> RunResult:
    """Runs every node that is not cached, and prints a line for each.

    Args:
        config: The run.
        config_path: Where it was read from, for the record.
        runner: Where it runs.
        run_id: See `make_run_id`.
        console: Where the lines go.

    Raises:
        NodeFailedError: If a node fails; the ones before it keep their results, and a repeated run takes them from the
            cache.
        UserError: If the metadata store cannot be reached.
    """
    paths = Paths(root=Path(runner.root).resolve(), name=config.pipeline.name)

    def create() -> Any:
        from pipeline.pipeline import create_pipeline

        return create_pipeline(
            config,
            pipeline_root=str(paths.artifacts),
            serving_root=str(paths.serving),
            checkpoint_root=str(paths.checkpoints),
            quarantine_root=str(paths.quarantine),
            judge_cache_root=str(paths.judgements),
            beam_pipeline_args=list(runner.beam_pipeline_args),
        )

    return run_nodes(create, paths, runner, make_run_record(dump_config(config), config_path), run_id, console)


def run_nodes(
    create: Callable[[], Any], paths: Paths, runner: RunnerConfig, record: dict[str, str], run_id: str, console: Console
) -> RunResult:
    """Runs every node of a pipeline that is not cached, and prints a line for each.

    Args:
        create: Makes the TFX pipeline; is called once TensorFlow may be imported.
        paths: Where it keeps what it writes.
        runner: Where it runs.
        record: See `make_run_record`.
        run_id: See `make_run_id`.
        console: Where the lines go.

    Raises:
        NodeFailedError: If a node fails.
        UserError: If the metadata store cannot be reached.
    """
    connection = make_connection_config(runner)
    _prepare_folders(paths, connection)
    started = time.monotonic()
    with console.status("Loading TensorFlow and TFX"):
        from tfx.dsl.compiler import compiler, constants
        from tfx.orchestration.portable import runtime_parameter_utils

        compiled = compiler.Compiler().compile(create())
        runtime_parameter_utils.substitute_runtime_parameter(
            compiled, {constants.PIPELINE_RUN_ID_PARAMETER_NAME: run_id}
        )
    _print_line(console, "·", "loaded", time.monotonic() - started)
    nodes: dict[str, NodeResult] = {}
    for node in compiled.nodes:
        node_id = node.pipeline_node.node_info.id
        # These draw their own progress.
        draws = node_id.endswith(("Trainer", "TokenScorer"))
        status = contextlib.nullcontext() if draws else console.status(node_id)
        started = time.monotonic()
        try:
            with status:
                _launch(compiled, node.pipeline_node, connection)
        except Exception as error:
            _print_line(console, "[red]✗[/]", node_id, time.monotonic() - started)
            raise NodeFailedError(node_id) from error
        finally:
            if not nodes:
                write_run_record(_open_store(connection), run_id, record)
        nodes[node_id] = _read_result(connection, paths.name, run_id, node_id, time.monotonic() - started)
        mark = "[dim]=[/]" if nodes[node_id].cached else "[green]✓[/]"
        _print_line(console, mark, node_id, nodes[node_id].seconds, "cached" if nodes[node_id].cached else "")
    return RunResult(run_id=run_id, paths=paths, nodes=nodes)


def _prepare_folders(paths: Paths, connection: metadata_store_pb2.ConnectionConfig) -> None:
    for folder in (paths.artifacts, paths.serving, paths.checkpoints):
        folder.mkdir(parents=True, exist_ok=True)
    if connection.HasField("sqlite"):
        Path(connection.sqlite.filename_uri).parent.mkdir(parents=True, exist_ok=True)
    _open_store(connection)


def _open_store(connection: metadata_store_pb2.ConnectionConfig) -> Any:
    from ml_metadata.metadata_store import MetadataStore

    try:
        return MetadataStore(connection)
    except Exception as error:
        kind = connection.WhichOneof("config")
        place = (
            connection.sqlite.filename_uri if kind == "sqlite" else f"{connection.mysql.host}:{connection.mysql.port}"
        )
        raise UserError(
            f"the metadata store ({kind} at {place}) must be reachable and an ML Metadata store: {error}"
        ) from error


def _launch(compiled: Any, pipeline_node: Any, connection: metadata_store_pb2.ConnectionConfig) -> None:
    from tfx.orchestration import metadata
    from tfx.orchestration.local import runner_utils
    from tfx.orchestration.portable import launcher

    deployment = runner_utils.extract_local_deployment_config(compiled)
    node_id = pipeline_node.node_info.id
    launcher.Launcher(
        pipeline_node=pipeline_node,
        mlmd_connection=metadata.Metadata(connection),
        pipeline_info=compiled.pipeline_info,
        pipeline_runtime_spec=compiled.runtime_spec,
        executor_spec=runner_utils.extract_executor_spec(deployment, node_id),
        custom_driver_spec=runner_utils.extract_custom_driver_spec(deployment, node_id),
    ).launch()


def _read_result(
    connection: metadata_store_pb2.ConnectionConfig, pipeline_name: str, run_id: str, node_id: str, seconds: float
) -> NodeResult:
    store = _open_store(connection)
    run_context = store.get_context_by_type_and_name("pipeline_run", run_id)
    # TFX puts each execution in the contexts of its pipeline, its run and its node. The store may hold other pipelines.
    node_context = store.get_context_by_type_and_name("node", f"{pipeline_name}.{node_id}")
    executions = {e.id: e for e in store.get_executions_by_context(run_context.id)}
    of_node = {e.id for e in store.get_executions_by_context(node_context.id)}
    execution = executions[max(of_node & set(executions))]
    events = store.get_events_by_execution_ids([execution.id])
    keys = {
        e.artifact_id: e.path.steps[0].key for e in events if e.type == metadata_store_pb2.Event.OUTPUT and e.path.steps
    }
    outputs: dict[str, list[metadata_store_pb2.Artifact]] = {}
    for artifact in store.get_artifacts_by_id(list(keys)):
        outputs.setdefault(keys[artifact.id], []).append(artifact)
    return NodeResult(
        node_id=node_id,
        cached=execution.last_known_state == metadata_store_pb2.Execution.CACHED,
        seconds=seconds,
        outputs=outputs,
        execution=execution,
    )


@contextlib.contextmanager
def signals_as_exceptions() -> Iterator[list[str]]:
    """Raises `Interrupted` where SIGINT or SIGTERM would end the process.

    Yields the names of the signals received so far: libraries turn exceptions into others, so that the one which arrives
    at the top need not be `Interrupted`.
    """
    received: list[str] = []

    def stop(signum: int, _frame: Any) -> None:
        received.append(signal.Signals(signum).name)
        raise Interrupted(received[-1])

    previous = {s: signal.signal(s, stop) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _print_line(console: Console, mark: str, name: str, seconds: float, note: str = "") -> None:
    console.print(f"{mark} {name:<20} {seconds:7.1f} s  {note}".rstrip())
