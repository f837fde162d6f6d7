"""AdamW with warm-up, decay and loss scaling."""

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
    """

    def __init__(self, peak: float, num_steps: int, warmup_steps: int, decay: str) -> None:
        self.peak = peak
        self.num_steps = num_steps
        self.warmup_steps = warmup_steps
        self.decay = decay

    def __call__(self, step: Any) -> Any:
        """Learning rate, float32, after `step` steps (an integer tensor of any shape)."""
        step = ops.cast(step, "float32")
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


class AdamW(keras.optimizers.AdamW):
    """Keras' AdamW, of which TensorFlow computes the update of a variable in one operation instead of about fifty.

    The formulas and the variables are Keras' own, so that checkpoints fit; only the rounding may differ in the last bit. With
    LoRA on 30 blocks, Keras' update is most of a step's graph, and of the time that tracing and optimizing it takes. On JAX,
    and where replicas share an update, everything is as Keras does it.
    """

    def _backend_update_step(self, grads: list[Any], trainable_variables: list[Any], learning_rate: Any) -> None:
        if not self._is_fused():
            super()._backend_update_step(grads, trainable_variables, learning_rate)
            return
        import tensorflow as tf

        step = ops.cast(self.iterations + 1, "float32")
        common = {
            "beta1_power": tf.pow(self.beta_1, step),
            "beta2_power": tf.pow(self.beta_2, step),
            "lr": tf.cast(learning_rate, tf.float32),
            "beta1": self.beta_1,
            "beta2": self.beta_2,
            "epsilon": self.epsilon,
        }
        for gradient, variable in zip(grads, trainable_variables, strict=True):
            index = self._get_variable_index(variable)
            names = {"var": variable, "m": self._momentums[index], "v": self._velocities[index]}
            handles = {name: value.value.handle for name, value in names.items()}
            tf.raw_ops.ResourceApplyAdam(**handles, **common, grad=gradient)

    def _apply_weight_decay(self, variables: list[Any]) -> None:
        if self.weight_decay is None or not self._is_fused():
            super()._apply_weight_decay(variables)
            return
        rate = self.learning_rate  # a schedule computes it anew each time that it is asked
        for variable in variables:
            if self._use_weight_decay(variable):
                variable.value.assign_sub(variable.value * self.weight_decay * rate)

    def _is_fused(self) -> bool:
        return keras.backend.backend() == "tensorflow" and self._distribution_strategy.num_replicas_in_sync == 1


def make_optimizer(train: Mapping[str, Any], num_steps: int, model: keras.Model) -> keras.optimizers.Optimizer:
    """Makes the optimizer of a run.

    AdamW (Loshchilov and Hutter, arXiv 1711.05101): decay is decoupled from the gradient, and left out for biases and
    normalisation weights. Sums over micro-batches and replicas, and clipping, are the engine's: the optimizer is called
    once a step. With mixed_float16 the loss is scaled, and a step whose scaled gradient is not finite changes nothing.

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
    optimizer = AdamW(
        learning_rate=WarmupSchedule(
            peak=train["learning_rate"],
            num_steps=num_steps,
            warmup_steps=round(train["warmup_fraction"] * num_steps),
            decay=train["schedule"],
        ),
        weight_decay=train["weight_decay"],
    )
    optimizer.exclude_from_weight_decay(var_list=[v for v in variables if len(v.shape) < 2 or v.name in NO_DECAY_NAMES])
    if model.dtype_policy.name == "mixed_float16":
        return keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer
