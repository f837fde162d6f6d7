"""How a training is seen on the console: a line that is overwritten, and lines that stay."""

import time
from collections.abc import Callable
from typing import IO, TYPE_CHECKING

from components.console_line import ConsoleLine
from components.trainer.state import TrainState

if TYPE_CHECKING:
    from components.trainer.engine import StepResult


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
        self._line = ConsoleLine(stream)
        self._num_steps = num_steps
        self._clock = clock
        self._window: tuple[float, int, int] | None = None
        self._speed = ""
        self._loss = ""

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
        self._line.show(self._text(state))

    def on_evaluation(self, state: TrainState) -> None:
        """Writes a line with the evaluation loss."""
        self._line.keep(self._text(state))
        if self._window is not None:  # the evaluation's seconds are not the training's
            self._window = (self._clock(), state.tokens_seen, state.target_tokens_seen)

    def close(self) -> None:
        """Gives the console back."""
        self._line.close()

    def _text(self, state: TrainState) -> str:
        parts = [f"train {state.step}/{self._num_steps}", self._loss, f"eval_loss {state.eval_loss:.4f}", self._speed]
        return "  ".join(part for part in parts if part)
