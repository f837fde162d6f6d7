"""Parts of the local runner that need no run; whole runs are in tests/e2e/."""

import os
import signal

import pytest
from rich.console import Console

from configs.runner_schema import LocalRunnerConfig
from pipeline.execution.child_process import Interrupted, signals_as_exceptions
from pipeline.execution.run_record import make_run_record
from pipeline.execution.run_state import find_run
from pipeline.lineage.runs import summarize
from pipeline.lineage.store import open_store
from pipeline.local_runner import make_run_id, run_nodes
from pipeline.metadata_connection import make_connection_config
from pipeline.paths import Paths


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_an_exception_that_is_remembered(number):
    before = signal.getsignal(number)
    with signals_as_exceptions() as received:
        # As TensorFlow does, which wraps what is raised while it traces a function.
        with pytest.raises(TypeError, match="wrapped"):
            try:
                os.kill(os.getpid(), number)
                signal.sigtimedwait([], 0)
            except Interrupted as error:
                raise TypeError("wrapped") from error
        assert received == [signal.Signals(number).name]
    assert signal.getsignal(number) == before


def test_a_run_is_known_before_anything_takes_its_time(tmp_path, monkeypatch):
    """One that is interrupted while TensorFlow is loaded is the newest one all the same: --resume must not go on with an older one."""

    class Stopped:
        def __init__(self, *_):
            raise Interrupted("SIGINT")

    monkeypatch.setattr("pipeline.local_runner.ChildProcess", Stopped)
    runner = LocalRunnerConfig(kind="local", root=str(tmp_path))
    paths = Paths(root=tmp_path, name="tiny")
    record = make_run_record("text: {}", "x.yaml", "tiny")
    with pytest.raises(Interrupted):
        run_nodes(None, (), paths, runner, record, "run-1", Console(quiet=True))
    store = open_store(make_connection_config(runner))
    found = find_run(store, "tiny", None)
    assert found.name == "run-1"
    assert summarize(store, [found])[0].state == "running"
    monkeypatch.setattr("pipeline.lineage.runs.is_process_gone", lambda _: True)
    assert summarize(store, [found])[0].state == "dead"


def test_run_ids_sort_by_time():
    ids = [make_run_id() for _ in range(3)]
    assert ids == sorted(ids)
