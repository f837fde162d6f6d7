"""The console of a run: our own lines on the terminal, everything that libraries print in a log file."""

import contextlib
import errno
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, cast

from absl import logging as absl_logging
from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderHook
from rich.segment import Segment

from components.harmless import make_harmless

PLAIN_WIDTH = 120
# A closed pipe (`| head`), a terminal that has vanished, a connection that has ended.
_NOBODY_READS = (errno.EPIPE, errno.EIO, errno.ENXIO, errno.EBADF, errno.ECONNRESET, errno.ESHUTDOWN, errno.ENOTCONN)


def make_console(
    file: IO[str] | None = None, *, stderr: bool = False, width: int | None = None, coloured: bool = True
) -> Console:
    """Returns a console for people: whatever text it is given commands no terminal and reorders nothing.

    Args:
        file: Where it writes; None: standard output, or standard error.
        stderr: Which of them.
        width: None: the terminal's; a pipe or a file has none of its own, and rich would fold paths and tables at 80.
        coloured: False: never, whatever the environment asks for.
    """
    stream = file or (sys.stderr if stderr else sys.stdout)
    console = Console(
        file=file,
        stderr=stderr,
        highlight=False,
        emoji=False,
        width=width or (None if stream.isatty() else PLAIN_WIDTH),
        color_system="auto" if coloured else None,
    )
    console.push_render_hook(_Harmless())
    return console


class _Harmless(RenderHook):
    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [_HarmlessRenderable(renderable) for renderable in renderables]


class _HarmlessRenderable:
    """Something as it is rendered, but for characters of its text that do more than to be seen."""

    def __init__(self, renderable: ConsoleRenderable):
        self._renderable = renderable

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        for segment in console.render(self._renderable, options):
            yield segment if segment.control else segment._replace(text=make_harmless(segment.text))


class _Terminal:
    """A stream that is written to while somebody reads it: the run goes on without, and its summary is among the reports."""

    def __init__(self, stream: IO[str]):
        self._stream = stream
        self._is_there = True

    def write(self, text: str) -> int:
        self._try(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        self._try(self._stream.flush)

    def close(self) -> None:
        with contextlib.suppress(OSError):  # what it still holds
            self._stream.close()

    def _try(self, action: Callable[[], object]) -> None:
        try:
            if self._is_there:
                action()
        except OSError as error:
            # Where it is only slow, or its disk is full, later lines may get through.
            self._is_there = error.errno not in _NOBODY_READS

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def redirect_output(log_path: Path) -> Iterator[Console]:
    """Sends this process's standard output and error to `log_path`, and yields a console on the terminal.

    The file descriptors themselves are redirected, since TensorFlow and its C++ parts write to them directly.
    """
    log_path.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    terminal_fd, error_fd = os.dup(1), os.dup(2)
    log_fd = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    terminal = _Terminal(os.fdopen(os.dup(terminal_fd), "w", encoding="utf-8", errors="replace"))
    verbosity = absl_logging.get_verbosity()
    try:
        os.dup2(log_fd, 1)
        os.dup2(log_fd, 2)
        # absl's handler stamps each line with its time; TFX, Beam and TFMA log through it or through Python's logging.
        absl_logging.use_absl_handler()
        absl_logging.set_verbosity(absl_logging.INFO)
        yield make_console(cast(IO[str], terminal))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        terminal.close()
        absl_logging.set_verbosity(verbosity)  # what comes next on the terminal is not for a log
        os.dup2(terminal_fd, 1)
        os.dup2(error_fd, 2)
        for fd in (terminal_fd, error_fd, log_fd):
            os.close(fd)
