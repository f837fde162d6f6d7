"""AdamW with warm-up, decay, clipping and gradient accumulation."""

import math
from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from components.errors import UserError

# Weights that are not multiplied with activations as a matrix: decay would only pull them off their meaning.
NO_DECAY_NAMES = ("bias", "gamma", "beta", "scale")


class WarmupSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """Learning rate by step: a linear rise, then a decay to zero (or none).

        rate(s) = peak * (s + 1) / W                          for s < W, the warm-up
        rate(s) = peak * decay((s - W) / (num_steps - W))     afterwards

    with decay(p) = (1 + cos(pi p)) / 2 (`cosine`), 1 - p (`linear`) or 1 (`constant`), and s the steps done.

    Attributes:
        peak: highest rate.
        num_steps: steps of the training.
        warmup_steps: W.
        decay: `cosine`, `linear` or `constant`.
        accumulation_steps: calls of the optimizer a step. Keras asks with the number of *calls*, while a step here is
            one update of the weights.
    """

    def __init__(self, peak: float, num_steps: int, warmup_steps: int, decay: str, accumulation_steps: int = 1) -> None:
        self.peak = peak
        self.num_steps = num_steps
        self.warmup_steps = warmup_steps
        self.decay = decay
        self.accumulation_steps = accumulation_steps

    def __call__(self, step: Any) -> Any:
        """Learning rate, float32, after `step` calls of the optimizer (an integer tensor of any shape)."""
        step = ops.cast(ops.floor_divide(step, self.accumulation_steps), "float32")
        share = ops.clip((step - self.warmup_steps) / max(self.num_steps - self.warmup_steps, 1), 0.0, 1.0)
        if self.decay == "cosine":
            factor = 0.5 * (1.0 + ops.cos(math.pi * share))
        elif self.decay == "linear":
            factor = 1.0 - share
        else:
            factor = ops.ones_like(share)
        return self.peak * ops.where(step < self.warmup_steps, (step + 1.0) / max(self.warmup_steps, 1), factor)

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return dict(vars(self))


def make_optimizer(train: Mapping[str, Any], num_steps: int, model: keras.Model) -> keras.optimizers.Optimizer:
    """Makes the optimizer of a run.

    AdamW (Loshchilov and Hutter, arXiv 1711.05101): decay is decoupled from the gradient, and left out for biases and
    normalisation weights. The gradient is clipped by its global norm once a step, after accumulation.

    Args:
        train: the run's `train` section.
        num_steps: steps of the training.
        model: what is trained; the optimizer is made for its trainable variables.

    Raises:
        UserError: the weights or the precision do not allow training.
    """
    variables = model.trainable_variables
    if coarse := sorted({variable.dtype for variable in variables} - {"float32"}):
        raise UserError(
            f"trained weights must be float32: in {coarse[0]}, updates of usual size are rounded away. "
            f"Received: model.dtype {coarse[0]}. Set model.dtype to mixed_{coarse[0]}, or tune with `lora`."
        )
    accumulation_steps = train["gradient_accumulation_steps"]
    if accumulation_steps > 1 and model.dtype_policy.name == "mixed_float16":
        # Loss scaling drops single micro-batches that overflow; the rest of their step would join the next one's.
        raise UserError(
            "train.gradient_accumulation_steps must be 1 with model.dtype mixed_float16. "
            f"Received: {accumulation_steps}. Set model.dtype to mixed_bfloat16."
        )
    optimizer = keras.optimizers.AdamW(
        learning_rate=WarmupSchedule(
            peak=train["learning_rate"],
            num_steps=num_steps,
            warmup_steps=round(train["warmup_fraction"] * num_steps),
            decay=train["schedule"],
            accumulation_steps=accumulation_steps,
        ),
        weight_decay=train["weight_decay"],
        global_clipnorm=train["clip_norm"],
        gradient_accumulation_steps=accumulation_steps if accumulation_steps > 1 else None,
    )
    optimizer.exclude_from_weight_decay(var_list=[v for v in variables if len(v.shape) < 2 or v.name in NO_DECAY_NAMES])
    return optimizer
