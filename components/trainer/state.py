"""Where a training stands: everything but the variables."""

import dataclasses
import math
from typing import Any

import numpy as np


@dataclasses.dataclass(kw_only=True)
class TrainState:
    """Counts and losses of a training so far; losses are means per target token over a whole split, in nats.

    Attributes:
        step: updates of the weights done.
        eval_loss_before: of the untuned model.
        eval_loss: of the latest evaluation.
        best_loss: lowest of all evaluations after at least one step.
        best_step: the step of `best_loss`.
        best_weights: the trainable weights at `best_step`, in the order of `model.trainable_variables`.
        evaluations_without_improvement: since `best_step`.
        stopped_early: whether patience has run out.
        tokens_seen: tokens trained on, without padding.
        target_tokens_seen: of these, the ones that counted in the loss.
        positions_seen: tokens and padding.
        seconds: spent in training steps, compilation included.
        resumed_from_step: step of the checkpoint that this process started from; None if it started afresh.
        recent_losses: of the steps since the latest evaluation.
        history: one row an evaluation: `step`, `eval_loss`, `loss` (mean over the steps since the last), `seconds`.
    """

    step: int = 0
    eval_loss_before: float = math.nan
    eval_loss: float = math.nan
    best_loss: float = math.inf
    best_step: int = 0
    best_weights: list[np.ndarray] | None = None
    evaluations_without_improvement: int = 0
    stopped_early: bool = False
    tokens_seen: int = 0
    target_tokens_seen: int = 0
    positions_seen: int = 0
    seconds: float = 0.0
    resumed_from_step: int | None = None
    recent_losses: list[float] = dataclasses.field(default_factory=list)
    history: list[dict[str, float]] = dataclasses.field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """All but `best_weights`, as JSON can hold it."""
        return {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name not in ("best_weights", "resumed_from_step")
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "TrainState":
        """The inverse of `to_dict`."""
        return cls(**values)
