"""Parts of the local runner that need no run; whole runs are in tests/e2e/."""

import os
import signal

import pytest

from pipeline.execution.child_process import Interrupted, signals_as_exceptions
from pipeline.local_runner import make_run_id


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


def test_run_ids_sort_by_time():
    ids = [make_run_id() for _ in range(3)]
    assert ids == sorted(ids)
