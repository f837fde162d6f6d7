"""How scoring is seen on the console: a line that is overwritten; the log has one now and then."""

import os
import time

from absl import logging

from components.console_line import CONSOLE_FD_VARIABLE, ConsoleLine

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
        # Without it this is a worker of another process or machine.
        self._line = ConsoleLine() if CONSOLE_FD_VARIABLE in os.environ else None

    def advance(self, num_examples: int, num_tokens: int) -> None:
        """Adds a batch."""
        self._done += num_examples
        self._tokens += num_tokens
        now = time.monotonic()
        text = f"{self._tokens / max(now - self._started, 1e-9):,.0f} target tokens/s"
        if self._line:
            self._line.show(f"score {self._done}/{self._total or '?'}  {text}")
        if now - self._logged >= _SECONDS_BETWEEN_LOG_LINES:
            self._logged = now
            logging.info("Scored %d of %s examples, %s.", self._done, self._total or "?", text)

    def close(self) -> None:
        """Gives the console back."""
        if self._line:
            self._line.close()
        self._line = None
