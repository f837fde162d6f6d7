"""How a training is seen on the console: a live line on a terminal, plain lines elsewhere."""

import contextlib
import os
import sys
import time
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from components.trainer.state import TrainState

if TYPE_CHECKING:
    from components.trainer.engine import StepResult

# A runner that sends a component's stdout and stderr to a log file passes its console's descriptor on in this variable.
CONSOLE_FD_VARIABLE = "PIPELINE_CONSOLE_FD"


def open_console_stream() -> IO[str]:
    """The user's console: the descriptor that the runner passes on, or stderr."""
    with contextlib.suppress(KeyError, ValueError, OSError):  # not set, not a number, closed
        return os.fdopen(os.dup(int(os.environ[CONSOLE_FD_VARIABLE])), "w")
    return sys.stderr


def start_bar(title: str, total: int | None, stream: IO[str]) -> tuple[Progress, Any]:
    """Starts a live line on a terminal; returns it and its task, whose `text` field stands behind the numbers."""
    progress = Progress(
        TextColumn(title),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TextColumn("{task.fields[text]}"),
        TimeRemainingColumn(),
        console=Console(file=stream),
        refresh_per_second=4,
    )
    task = progress.add_task(title, total=total, text="starting")
    progress.start()
    return progress, task


class ConsoleProgress:
    """Shows step, loss, speed, time left and evaluation loss. A `Listener` of the training loop."""

    def __init__(
        self, num_steps: int, stream: IO[str] | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Starts the display.

        Args:
            num_steps: steps of the training.
            stream: where to write; None is the user's console.
            clock: seconds, for the speed.
        """
        self._stream = stream or open_console_stream()
        self._num_steps = num_steps
        self._clock = clock
        self._window: tuple[float, int, int] | None = None
        self._speed = ""
        self._loss = ""
        self._progress: Progress | None = None
        self._task: Any = None
        if self._stream.isatty():
            self._progress, self._task = start_bar("train", num_steps, self._stream)

    def on_step(self, state: TrainState, result: "StepResult", learning_rate: float) -> None:
        """Updates the loss and, once a second, the speed."""
        self._loss = f"loss {result.loss:.4f}"
        now = self._clock()
        if self._window is None:  # the first step compiles; it says nothing about speed
            self._window = (now, state.tokens_seen, state.target_tokens_seen)
        elif now - self._window[0] >= 1.0:
            seconds = now - self._window[0]
            tokens, targets = state.tokens_seen - self._window[1], state.target_tokens_seen - self._window[2]
            self._speed = f"{tokens / seconds:,.0f} tokens/s ({targets / seconds:,.0f} target)"
            self._window = (now, state.tokens_seen, state.target_tokens_seen)
        if self._progress:
            self._progress.update(self._task, completed=state.step, text=self._text(state))

    def on_evaluation(self, state: TrainState) -> None:
        """Shows the evaluation loss; off a terminal, writes a line."""
        if self._progress:
            self._progress.update(self._task, completed=state.step, text=self._text(state))
        else:
            self._stream.write(f"train {state.step}/{self._num_steps}  {self._text(state)}\n")
            self._stream.flush()
        if self._window is not None:  # the evaluation's seconds are not the training's
            self._window = (self._clock(), state.tokens_seen, state.target_tokens_seen)

    def close(self) -> None:
        """Ends the display and leaves its last state on the console."""
        if self._progress:
            self._progress.stop()
        if self._stream is not sys.stderr:
            self._stream.close()

    def _text(self, state: TrainState) -> str:
        parts = [self._loss, f"eval_loss {state.eval_loss:.4f}", self._speed]
        return "  ".join(part for part in parts if part)
