import os
import subprocess
import sys

import pytest
from ml_metadata.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2

from components.errors import UserError
from pipeline.execution import run_state
from pipeline.execution.run_state import Execution


@pytest.fixture
def store():
    config = metadata_store_pb2.ConnectionConfig()
    config.fake_database.SetInParent()
    return MetadataStore(config)


@pytest.fixture
def add(store):
    """`add(run_id, node_id, state, process)`: an execution of the pipeline `p`, as TFX writes it."""

    def put_context(kind, name, **properties):
        type_id = store.put_context_type(metadata_store_pb2.ContextType(name=kind))
        if found := store.get_context_by_type_and_name(kind, name):
            return found.id
        context = metadata_store_pb2.Context(type_id=type_id, name=name)
        for key, value in properties.items():
            context.custom_properties[key].string_value = value
        return store.put_contexts([context])[0]

    def make(run_id, node_id, state, process=""):
        type_id = store.put_execution_type(metadata_store_pb2.ExecutionType(name=node_id))
        execution = Execution(type_id=type_id, last_known_state=state)
        contexts = [
            put_context("pipeline", "p"),
            put_context("pipeline_run", run_id, pipeline_name="p", process=process),
            put_context("node", f"p.{node_id}"),
        ]
        execution_id, _, _ = store.put_execution(
            execution, [], [store.get_contexts_by_id([context_id])[0] for context_id in contexts]
        )
        return execution_id

    return make


@pytest.fixture
def gone():
    """A process that has ended."""
    script = "from pipeline.execution.run_state import describe_process; print(describe_process())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_processes(gone):
    assert not run_state.is_process_gone(run_state.describe_process())
    assert run_state.is_process_gone(gone)
    host, pid, start = run_state.describe_process().split()
    # The same number, but another process.
    assert run_state.is_process_gone(f"{host} {pid} {float(start) - 1:.2f}")
    assert not run_state.is_process_gone(f"elsewhere {os.getpid()} 1.00")
    assert not run_state.is_process_gone("")


def test_a_node_is_read_from_its_own_run(store, add):
    add("run-1", "Trainer", Execution.COMPLETE)
    add("run-2", "Trainer", Execution.RUNNING)
    first, second = (run_state.read_node(store, "p", run, "Trainer") for run in ("run-1", "run-2"))
    assert (first.is_finished, second.is_finished) == (True, False)
    assert run_state.read_node(store, "p", "run-1", "Pusher") is None
    assert run_state.read_node(store, "p", "run-3", "Trainer") is None


def test_what_a_killed_run_left_running_is_closed_with_a_reason(store, add, gone):
    dead = add("run-1", "Trainer", Execution.RUNNING, gone)
    alive = add("run-2", "Trainer", Execution.RUNNING, run_state.describe_process())
    unknown = add("run-3", "Trainer", Execution.RUNNING)
    assert run_state.close_dead_runs(store, "p") == ["run-1"]
    states = {e.id: e.last_known_state for e in store.get_executions_by_id([dead, alive, unknown])}
    assert states == {dead: Execution.FAILED, alive: Execution.RUNNING, unknown: Execution.RUNNING}
    (closed,) = store.get_executions_by_id([dead])
    assert "ended without a word" in closed.custom_properties[run_state.FAILURE].string_value
    assert run_state.close_dead_runs(store, "p") == []
    run_state.mark_running(store, closed)
    (taken_over,) = store.get_executions_by_id([dead])
    assert taken_over.last_known_state == Execution.RUNNING
    assert run_state.FAILURE not in taken_over.custom_properties


def test_the_newest_run_or_the_one_that_is_named(store, add):
    add("run-1", "Trainer", Execution.FAILED)
    add("run-2", "Trainer", Execution.COMPLETE)
    assert run_state.find_run(store, "p", None).name == "run-2"
    assert run_state.find_run(store, "p", "run-1").name == "run-1"
    with pytest.raises(UserError, match="run-9.*run-2, run-1"):
        run_state.find_run(store, "p", "run-9")
    with pytest.raises(UserError, match="none"):
        run_state.find_run(store, "q", None)


def test_a_killed_run_that_goes_on_is_claimed_and_others_are_not(store, add, gone):
    dead = add("run-1", "Trainer", Execution.RUNNING, gone)
    elsewhere = add("run-2", "Trainer", Execution.RUNNING, "elsewhere 1 1.00")
    unknown = add("run-3", "Trainer", Execution.RUNNING)
    for run in ("run-1", "run-2", "run-3", "none"):
        run_state.claim_run(store, run)
    states = {e.id: e.last_known_state for e in store.get_executions_by_id([dead, elsewhere, unknown])}
    assert states == {dead: Execution.FAILED, elsewhere: Execution.RUNNING, unknown: Execution.RUNNING}
    processes = [
        store.get_context_by_type_and_name("pipeline_run", run).custom_properties["process"].string_value
        for run in ("run-1", "run-2", "run-3")
    ]
    assert processes == [run_state.describe_process(), "elsewhere 1 1.00", ""]
    assert "run-1" in run_state.list_going_runs(store)
