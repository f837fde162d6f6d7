"""Lines of the user's console, from wherever a node runs."""

import contextlib
import os
import sys
import time
from collections.abc import Callable
from typing import IO

# A runner that sends a component's stdout and stderr to a log file passes its console's descriptor on in this variable.
CONSOLE_FD_VARIABLE = "PIPELINE_CONSOLE_FD"
_SECONDS_BETWEEN_UPDATES = 0.25


def open_console_stream() -> IO[str]:
    """The user's console: the descriptor that the runner passes on, or stderr."""
    with contextlib.suppress(KeyError, ValueError, OSError):  # not set, not a number, closed
        return os.fdopen(os.dup(int(os.environ[CONSOLE_FD_VARIABLE])), "w")
    return sys.stderr


class ConsoleLine:
    """A line of the user's console.

    As on a terminal, a carriage return ends what the next line overwrites, and a line feed what stays. The first kind is
    written only where somebody overwrites it: a terminal, or a runner that shows it.
    """

    def __init__(self, stream: IO[str] | None = None, clock: Callable[[], float] = time.monotonic):
        """Writes nothing yet.

        Args:
            stream: Where to write; None is the user's console.
            clock: Seconds.
        """
        self._stream = stream or open_console_stream()
        self._clock = clock
        self._is_live = self._stream.isatty() or CONSOLE_FD_VARIABLE in os.environ
        self._clear = "\x1b[2K" if self._stream.isatty() else ""
        self._shown = -float("inf")

    def show(self, text: str) -> None:
        """Writes what the next line overwrites; not more often than can be read."""
        if self._is_live and self._clock() - self._shown >= _SECONDS_BETWEEN_UPDATES:
            self._shown = self._clock()
            self._write(f"{self._clear}{text}\r")

    def keep(self, text: str) -> None:
        """Writes a line that stays."""
        self._write(f"{self._clear}{text}\n")

    def close(self) -> None:
        """Gives the console back."""
        if self._stream is not sys.stderr:
            with contextlib.suppress(OSError):
                self._stream.close()

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError):  # whoever showed it is gone; the training is not
            self._stream.write(text)
            self._stream.flush()
