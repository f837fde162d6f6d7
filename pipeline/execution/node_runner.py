"""Runs one node of a compiled pipeline in a process of its own, and sees to it that the store tells what became of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from components.errors import UserError
from pipeline.execution.child_process import ChildDiedError, ChildError, ChildProcess
from pipeline.execution.node_launcher import CompiledPipeline, launch_node
from pipeline.execution.run_state import FAILURE, Execution, NodeState, mark_failed, mark_running, read_node
from pipeline.execution.store_lock import lock_store
from pipeline.metadata_connection import ConnectionConfig, open_writable_store


class NodeFailedError(Exception):
    """A node failed; its cause is this exception's `__cause__`."""

    def __init__(self, node_id: str):
        self.node_id = node_id
        super().__init__(f"{node_id} failed")


def run_node(
    pipeline: CompiledPipeline,
    run_id: str,
    node_id: str,
    connection: ConnectionConfig,
    log_path: Path,
    on_start: Callable[[ChildProcess], None] = lambda _: None,
    on_text: Callable[[bytes], None] = lambda _: None,
) -> NodeState:
    """Runs a node, unless the run has finished it already; returns its state.

    Args:
        pipeline: The compiled pipeline.
        run_id: The run.
        node_id: The node; all that it waits for must have finished.
        connection: The metadata store.
        log_path: File that its output is added to.
        on_start: Is given its process.
        on_text: Is given what the node writes for the user's console.

    Raises:
        NodeFailedError: If it fails or is killed; it is FAILED in the store then.
    """
    before = _read(connection, pipeline.name, run_id, node_id)
    if before is not None and before.is_finished:
        return before
    if before is not None:  # an earlier attempt failed or was killed; TFX takes its execution over as it stands
        with lock_store(connection):
            mark_running(open_writable_store(connection), before.execution)
    child = ChildProcess(launch_node, (pipeline.to_json(), node_id, connection), log_path)
    on_start(child)
    try:
        child.wait(on_text)
    except (UserError, ChildError, ChildDiedError) as error:
        try:
            _close(connection, pipeline.name, run_id, node_id, str(error))
        except UserError as lost:
            # The store went away: then that is the cause, whatever the node made of it.
            raise NodeFailedError(node_id) from lost
        raise NodeFailedError(node_id) from error
    after = _read(connection, pipeline.name, run_id, node_id)
    if after is None or not after.is_finished:
        # Without an exception TFX leaves a node whose inputs cannot be resolved.
        reason = f"{node_id} did not run: its inputs are not there. Log: {log_path}"
        _close(connection, pipeline.name, run_id, node_id, reason)
        raise NodeFailedError(node_id) from ChildError(reason)
    return after


def _read(connection: ConnectionConfig, pipeline_name: str, run_id: str, node_id: str) -> NodeState | None:
    with lock_store(connection):
        return read_node(open_writable_store(connection), pipeline_name, run_id, node_id)


def _close(connection: ConnectionConfig, pipeline_name: str, run_id: str, node_id: str, reason: str) -> None:
    """A killed process could not say itself that it failed; whatever failed, the store should say why."""
    with lock_store(connection):
        store: Any = open_writable_store(connection)
        state = read_node(store, pipeline_name, run_id, node_id)
        if state is not None and not state.is_finished and FAILURE not in state.execution.custom_properties:
            mark_failed(store, state.execution, reason)
        assert state is None or state.is_finished or state.execution.last_known_state == Execution.FAILED
