"""What the metadata store says of a run: which node is in which state, and whether its process is alive.

Nothing here imports TFX.
"""

import os
import socket
from dataclasses import dataclass, field
from typing import Any

import psutil
from ml_metadata.metadata_store.metadata_store import ListOptions, OrderByField
from ml_metadata.proto import metadata_store_pb2

from components.errors import UserError

Execution = metadata_store_pb2.Execution
RUN_CONTEXT = "pipeline_run"
# Custom properties of executions and runs.
FAILURE = "failure"
PROCESS = "process"
# Custom property of a run that was not needed.
SKIPPED = "skipped"
FINISHED = (Execution.COMPLETE, Execution.CACHED)


@dataclass(frozen=True, kw_only=True)
class NodeState:
    """What became of one node in one run.

    Attributes:
        node_id: Its name.
        execution: Its execution in the metadata store.
        outputs: Its output artifacts by key.
    """

    node_id: str
    execution: metadata_store_pb2.Execution = field(repr=False)
    outputs: dict[str, list[metadata_store_pb2.Artifact]] = field(repr=False)

    @property
    def is_finished(self) -> bool:
        """Whether it need not run again."""
        return self.execution.last_known_state in FINISHED

    @property
    def cached(self) -> bool:
        """Whether an earlier execution's outputs were taken."""
        return self.execution.last_known_state == Execution.CACHED


def describe_process() -> str:
    """Returns this process as `host pid start`, where start tells it from a later one with the same number."""
    return f"{socket.gethostname()} {os.getpid()} {psutil.Process().create_time():.2f}"


def is_process_gone(process: str) -> bool:
    """Returns whether a process of `describe_process` was of this machine and has ended; False if that cannot be known."""
    host, _, rest = process.partition(" ")
    pid, _, start = rest.partition(" ")
    if host != socket.gethostname() or not pid.isdigit():
        return False
    try:
        return f"{psutil.Process(int(pid)).create_time():.2f}" != start
    except psutil.NoSuchProcess:
        return True


def is_process_alive(process: str) -> bool:
    """Returns whether a process of `describe_process` is of this machine and has not ended."""
    return process.startswith(f"{socket.gethostname()} ") and not is_process_gone(process)


def list_going_runs(store: Any) -> dict[str, metadata_store_pb2.Context]:
    """Returns the contexts of the runs that have not ended, by run id.

    These are the runs of this machine whose process is alive, and those with a RUNNING node of whose process nothing is known here.
    """
    runs = {context.id: context for context in store.get_contexts_by_type(RUN_CONTEXT)}
    processes = {key: context.custom_properties[PROCESS].string_value for key, context in runs.items()}
    going = {key for key, process in processes.items() if is_process_alive(process)}
    for execution in store.get_executions(ListOptions(filter_query="last_known_state = RUNNING")):
        contexts = {context.id for context in store.get_contexts_by_execution(execution.id)}
        going |= {key for key in contexts & runs.keys() if not is_process_gone(processes[key])}
    return {runs[key].name: runs[key] for key in sorted(going)}


def read_node(store: Any, pipeline_name: str, run_id: str, node_id: str) -> NodeState | None:
    """Returns the state of a node in a run, or None if it has not started there."""
    run_context = store.get_context_by_type_and_name(RUN_CONTEXT, run_id)
    # TFX puts each execution in the contexts of its pipeline, its run and its node. The store may hold other pipelines.
    node_context = store.get_context_by_type_and_name("node", f"{pipeline_name}.{node_id}")
    if run_context is None or node_context is None:
        return None
    executions = {e.id: e for e in store.get_executions_by_context(run_context.id)}
    of_node = {e.id for e in store.get_executions_by_context(node_context.id)} & set(executions)
    if not of_node:
        return None
    execution = executions[max(of_node)]
    events = store.get_events_by_execution_ids([execution.id])
    keys = {
        e.artifact_id: e.path.steps[0].key for e in events if e.type == metadata_store_pb2.Event.OUTPUT and e.path.steps
    }
    outputs: dict[str, list[metadata_store_pb2.Artifact]] = {}
    for artifact in store.get_artifacts_by_id(list(keys)):
        outputs.setdefault(keys[artifact.id], []).append(artifact)
    return NodeState(node_id=node_id, execution=execution, outputs=outputs)


def mark_failed(store: Any, execution: metadata_store_pb2.Execution, reason: str) -> None:
    """Sets an execution that no process runs any more to FAILED."""
    execution.last_known_state = Execution.FAILED
    execution.custom_properties[FAILURE].string_value = reason
    store.put_executions([execution])


def mark_running(store: Any, execution: metadata_store_pb2.Execution) -> None:
    """Sets a failed execution that is about to be taken over to RUNNING."""
    execution.last_known_state = Execution.RUNNING
    execution.custom_properties.pop(FAILURE, None)
    store.put_executions([execution])


def close_dead_runs(store: Any, pipeline_name: str) -> list[str]:
    """Sets to FAILED what runs of a pipeline left RUNNING when their process was killed; returns the ids of these runs.

    Only runs of this machine: whether a process of another one is alive is not known here.
    """
    running = store.get_executions(
        ListOptions(
            filter_query=f"last_known_state = RUNNING AND contexts_p.type = 'pipeline' AND contexts_p.name = '{pipeline_name}'"
        )
    )
    closed = []
    for execution in running:
        contexts = store.get_contexts_by_execution(execution.id)
        for context in (c for c in contexts if c.type == RUN_CONTEXT):
            process = context.custom_properties[PROCESS].string_value
            if process and is_process_gone(process):
                mark_failed(store, execution, _describe_end(process))
                closed.append(context.name)
    return sorted(set(closed))


def claim_run(store: Any, run_id: str) -> None:
    """Says of a run of this machine that was killed, and is about to go on, that this process runs it: nobody takes it for one that
    has ended. What it left RUNNING is set to FAILED. Of runs that may be going elsewhere, nothing is said."""
    context = store.get_context_by_type_and_name(RUN_CONTEXT, run_id)
    process = context.custom_properties[PROCESS].string_value if context is not None else ""
    if not process or not is_process_gone(process):
        return
    for execution in store.get_executions_by_context(context.id):
        if execution.last_known_state == Execution.RUNNING:
            mark_failed(store, execution, _describe_end(process))
    context.custom_properties[PROCESS].string_value = describe_process()
    store.put_contexts([context])


def _describe_end(process: str) -> str:
    return f"the process of the run ({process.rpartition(' ')[0]}) ended without a word"


def find_run(store: Any, pipeline_name: str, run_id: str | None) -> metadata_store_pb2.Context:
    """Returns the context of a run of the pipeline; without an id, of its newest one that had anything to do.

    Raises:
        UserError: If there is none.
    """
    if run_id is not None:
        context = store.get_context_by_type_and_name(RUN_CONTEXT, run_id)
        if context is not None and context.custom_properties["pipeline_name"].string_value == pipeline_name:
            if context.custom_properties[SKIPPED].string_value:
                raise UserError(
                    f"the run {run_id} was skipped: there is nothing to go on with. Start one without --resume."
                )
            return context
    query = f"type = '{RUN_CONTEXT}' AND custom_properties.pipeline_name.string_value = '{pipeline_name}'"
    options = ListOptions(filter_query=query, order_by=OrderByField.ID, is_asc=False, limit=1000)
    runs = [c for c in store.get_contexts(options) if not c.custom_properties[SKIPPED].string_value]
    if run_id is None and runs:
        return runs[0]
    raise UserError(
        f"there is no run {run_id or ''} of the pipeline {pipeline_name!r}. Its newest runs: "
        f"{', '.join(c.name for c in runs[:5]) or 'none'}. Start one without --resume."
    )
