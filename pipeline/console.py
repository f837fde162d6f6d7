"""The console of a run: our own lines on the terminal, everything that libraries print in a log file."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from absl import logging as absl_logging
from rich.console import Console

PLAIN_WIDTH = 120


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
    terminal = os.fdopen(os.dup(terminal_fd), "w", encoding="utf-8", errors="replace")
    verbosity = absl_logging.get_verbosity()
    try:
        os.dup2(log_fd, 1)
        os.dup2(log_fd, 2)
        # absl's handler stamps each line with its time; TFX, Beam and TFMA log through it or through Python's logging.
        absl_logging.use_absl_handler()
        absl_logging.set_verbosity(absl_logging.INFO)
        # A pipe or a file has no width of its own, and rich would fold paths and tables at 80.
        yield Console(file=terminal, highlight=False, width=None if terminal.isatty() else PLAIN_WIDTH)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        terminal.close()
        absl_logging.set_verbosity(verbosity)  # what comes next on the terminal is not for a log
        os.dup2(terminal_fd, 1)
        os.dup2(error_fd, 2)
        for fd in (terminal_fd, error_fd, log_fd):
            os.close(fd)
