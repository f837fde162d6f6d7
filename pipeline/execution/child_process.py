"""Functions in processes of their own that find TFX imported already.

Importing TFX takes half a minute. A server process imports it once and forks for each call, so that a call costs
milliseconds, its memory is given back when it ends, and nothing that kills it kills the caller. Nothing of TensorFlow's runtime
starts in the server: its threads would not live on in a fork (a test says so).
"""

import contextlib
import json
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from absl import logging as absl_logging

from components.console_line import CONSOLE_FD_VARIABLE
from components.errors import UserError
from components.system_errors import explain_system_error
from pipeline.execution.scratch import Scratch, keep_sockets_in_scratch, use_scratch

PRELOAD = (
    "tfx.orchestration.portable.launcher",
    "pipeline.pipeline",
    "components.trainer.module",
    "components.transform.module",
    "pipeline.serving",
)
# What a node may take to publish its failure after a signal.
GRACE_SECONDS = 30.0
_READ_BYTES = 1 << 16


class Interrupted(Exception):  # noqa: N818 - it is no error
    """A signal asked the process to stop. No BaseException, so that TFX marks the running node as failed."""


class ChildError(Exception):
    """The function raised an error that is no `UserError`; the log has the traceback."""


class ChildDiedError(Exception):
    """The process ended without an answer: killed, or crashed in native code."""


class ChildProcess:
    """One call of a function in a process of its own."""

    def __init__(self, function: Callable[..., Any], arguments: tuple[Any, ...], log_path: Path):
        """Starts the process.

        Args:
            function: Of a module, so that another process finds it; returns what JSON can hold.
            arguments: Its arguments.
            log_path: File that everything it prints is added to.
        """
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(PRELOAD))
        self._answers, answer = context.Pipe(duplex=False)
        self._texts, text = context.Pipe(duplex=False)
        self._log_path = log_path
        log_path.parent.mkdir(parents=True, exist_ok=True)
        _start_server(log_path)
        self._scratch = Scratch()
        self._process = context.Process(
            target=_run,
            args=(function, arguments, str(log_path), self._scratch.folder, answer, text),
            name=function.__name__,
        )
        self._process.start()
        answer.close()
        text.close()

    @property
    def pid(self) -> int | None:
        """Its process id."""
        return self._process.pid

    def wait(self, on_text: Callable[[bytes], None] = lambda _: None) -> Any:
        """Returns what the function returns.

        Args:
            on_text: Is given what the function writes for the user's console, as it comes.

        Raises:
            UserError: As the function raised it.
            ChildError: Of any other error.
            ChildDiedError: If the process died.
        """
        answer: dict[str, Any] | None = None
        open_ends: list[Any] = [self._answers, self._texts, self._process.sentinel]
        while self._process.sentinel in open_ends:
            for end in wait(open_ends):
                if end is self._texts:
                    if data := os.read(self._texts.fileno(), _READ_BYTES):
                        on_text(data)
                    else:
                        open_ends.remove(end)
                elif end is self._answers:
                    answer = _receive(self._answers)
                    open_ends.remove(end)
                else:
                    open_ends.remove(end)
        self._process.join()
        self._scratch.remove()
        if answer is None and self._answers.poll():
            answer = _receive(self._answers)
        self._answers.close()
        self._texts.close()
        if answer is None:
            raise ChildDiedError(describe_exit(self._process.exitcode, self._log_path))
        if "user_error" in answer:
            raise UserError(answer["user_error"])
        if "error" in answer:
            raise ChildError(answer["error"])
        return answer["value"]

    def stop(self) -> None:
        """Asks the process to end, as Ctrl-C would; kills it when its time is over. `wait` returns then."""
        if self._process.pid is None or not self._process.is_alive():
            return
        self._send(signal.SIGTERM)
        timer = threading.Timer(GRACE_SECONDS, self._send, (signal.SIGKILL,))
        timer.daemon = True
        timer.start()

    def _send(self, number: signal.Signals) -> None:
        try:
            if self._process.pid is not None and self._process.exitcode is None:
                os.kill(self._process.pid, number)
        except ProcessLookupError:
            pass


def _start_server(log_path: Path) -> None:
    """Starts the server unless it runs; what libraries print while it loads them goes to the log."""
    keep_sockets_in_scratch()
    with log_path.open("ab") as log:
        sys.stderr.flush()
        stderr = os.dup(2)
        os.dup2(log.fileno(), 2)
        try:
            forkserver.ensure_running()
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def describe_exit(exit_code: int | None, log_path: Path) -> str:
    """Says how a process ended that gave no answer, and where to look."""
    if exit_code is not None and exit_code < 0:
        name = signal.Signals(-exit_code).name
        hint = (
            " Often the system was out of memory: see `dmesg`; `max_parallel_nodes: 1` of the runner, or a smaller batch, needs less."
            if name == "SIGKILL"
            else ""
        )
        return f"its process was ended by {name}.{hint} Log: {log_path}"
    return f"its process ended with exit code {exit_code} and without an answer. Log: {log_path}"


def _receive(answers: Connection) -> dict[str, Any] | None:
    try:
        return json.loads(answers.recv_bytes())
    except EOFError:
        return None


def _run(
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    log_path: str,
    scratch: str,
    answers: Connection,
    texts: Connection,
) -> None:
    """What the process does: all output to the log, temporary files to `scratch`, the answer to the caller."""
    _die_with_caller()
    _stop_on_signals()
    log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    use_scratch(scratch)
    os.environ[CONSOLE_FD_VARIABLE] = str(texts.fileno())
    # absl's handler stamps each line with its time; TFX, Beam and TFMA log through it or through Python's logging.
    absl_logging.use_absl_handler()
    absl_logging.set_verbosity(absl_logging.INFO)
    # The disk that holds the log may be full: the caller is told all the same.
    with contextlib.suppress(OSError):
        print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {function.__name__} in process {os.getpid()}", flush=True)
    try:
        answer = json.dumps({"value": function(*arguments)})
    except Exception as error:  # noqa: BLE001 - whatever it is, the caller is told
        answer = json.dumps(_describe_error(error))
        with contextlib.suppress(OSError):
            traceback.print_exc()
    answers.send_bytes(answer.encode())
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    # Threads and destructors of TensorFlow and gRPC have nothing left to do, and some wait for each other.
    os._exit(0)


def _describe_error(error: BaseException) -> dict[str, str]:
    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in causes:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    for found in causes:
        if isinstance(found, UserError):
            return {"user_error": str(found)}
    if told := explain_system_error(error):
        return {"user_error": told}
    return {"error": f"{type(error).__name__}: {error}"[:2000]}


def _die_with_caller() -> None:
    """Ends this process when its caller is gone, also by SIGKILL: nobody would take its answer, and its run is over."""
    caller = multiprocessing.parent_process()
    assert caller is not None

    def watch() -> None:
        wait([caller.sentinel])
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def _stop_on_signals() -> None:
    """The first signal raises `Interrupted` where the process is; TFX then marks the node as failed. Later ones do nothing."""

    def stop(number: int, _frame: Any) -> None:
        for other in (signal.SIGINT, signal.SIGTERM):
            signal.signal(other, signal.SIG_IGN)
        raise Interrupted(signal.Signals(number).name)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)


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
