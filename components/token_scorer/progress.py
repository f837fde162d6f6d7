"""How scoring is seen on the console: a live line on a terminal, nothing elsewhere (the log has a line now and then)."""

import os
import sys
import time
from typing import IO, Any

from absl import logging
from rich.progress import Progress

from components.trainer.progress import CONSOLE_FD_VARIABLE, open_console_stream, start_bar

_SECONDS_BETWEEN_LOG_LINES = 30


class ScoringProgress:
    """Counts scored examples and tokens, and shows them where the runner has left its console."""

    def __init__(self, num_examples: int | None):
        """Starts the display.

        Args:
            num_examples: Of the split; None if unknown.
        """
        self._started = self._logged = time.monotonic()
        self._done = self._tokens = 0
        self._total = num_examples
        self._progress: Progress | None = None
        self._task: Any = None
        self._stream: IO[str] | None = None
        if CONSOLE_FD_VARIABLE in os.environ:  # else a worker of another process or machine
            self._stream = open_console_stream()
            if self._stream.isatty():
                self._progress, self._task = start_bar("score", num_examples, self._stream)

    def advance(self, num_examples: int, num_tokens: int) -> None:
        """Adds a batch."""
        self._done += num_examples
        self._tokens += num_tokens
        now = time.monotonic()
        text = f"{self._tokens / max(now - self._started, 1e-9):,.0f} target tokens/s"
        if self._progress:
            self._progress.update(self._task, completed=self._done, text=text)
        if now - self._logged >= _SECONDS_BETWEEN_LOG_LINES:
            self._logged = now
            logging.info("Scored %d of %s examples, %s.", self._done, self._total or "?", text)

    def close(self) -> None:
        """Ends the display."""
        if self._progress:
            self._progress.stop()
        if self._stream and self._stream is not sys.stderr:
            self._stream.close()
        self._progress = self._stream = None
