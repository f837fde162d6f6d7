"""What computes a training's steps: the interface, and which engine a placement needs."""

from typing import TYPE_CHECKING, NamedTuple, Protocol

import keras

from components.trainer.fine_tuner import FineTuner
from components.trainer.placement import Placement

if TYPE_CHECKING:
    from components.trainer.data import Step


class StepResult(NamedTuple):
    """What a step came to.

    Attributes:
        loss: mean per target token of the step's examples before the update, in nats.
        gradient_norm: global norm of the gradient of `loss`, before clipping.
    """

    loss: float
    gradient_norm: float


class Engine(Protocol):
    """Computes steps of a `FineTuner` on the devices of a placement.

    The gradient of a step is the sum over its micro-batches and replicas, clipped by its global norm once. If it is not
    finite, the weights stay finite: the update is one with a gradient of 0, or with loss scaling none.

    Attributes:
        tuner: what is trained.
        optimizer: with variables for the tuner's trainable ones.
        num_replicas: shards that a step must have.
    """

    tuner: FineTuner
    optimizer: keras.optimizers.Optimizer
    num_replicas: int

    def train(self, step: "Step") -> StepResult:
        """Updates the weights once."""

    def evaluate(self, step: "Step") -> float:
        """Sum over the step's positions of weight times negative log-likelihood, in nats."""

    def estimate_memory(self, num_micro_batches: int, rows: int, length: int) -> int:
        """Bytes that `train` needs besides weights and optimizer, for a step of this shape on one replica."""

    def reserve_memory(self, size: int) -> None:
        """Makes room for steps that need so many bytes, before smaller ones cut it up."""

    def forget_compiled(self) -> None:
        """Makes the next step be built anew, because layers compute in another way."""

    def is_same_everywhere(self, number: int) -> bool:
        """Whether all workers call this with the same number."""


def make_engine(
    tuner: FineTuner,
    optimizer: keras.optimizers.Optimizer,
    placement: Placement,
    *,
    clip_norm: float | None,
    jit_compile: bool,
) -> Engine:
    """Makes the engine of the backend in use.

    Args:
        tuner: made in the placement's scope.
        optimizer: not yet built; clips nothing itself.
        placement: the devices.
        clip_norm: largest global norm of a step's gradient; None: any.
        jit_compile: whether XLA compiles the steps; JAX always does.
    """
    if keras.backend.backend() == "jax":
        from components.trainer.jax_engine import JaxEngine

        return JaxEngine(tuner, optimizer, placement, clip_norm=clip_norm)
    from components.trainer.tensorflow_engine import TensorFlowEngine

    return TensorFlowEngine(tuner, optimizer, placement, clip_norm=clip_norm, jit_compile=jit_compile)
