"""Steps on the JAX backend, on one device or under a `keras.distribution`."""

from typing import Any

import jax
import keras
from jax import numpy as jnp

from components.trainer.data import Step, make_blank_step
from components.trainer.engine import StepResult
from components.trainer.fine_tuner import FineTuner
from components.trainer.model import list_generators
from components.trainer.placement import Placement


class JaxEngine:
    """An `Engine`. One jitted function is a whole step; it is compiled once for each padded length."""

    def __init__(
        self,
        tuner: FineTuner,
        optimizer: keras.optimizers.Optimizer,
        placement: Placement,
        *,
        clip_norm: float | None,
    ) -> None:
        """See `make_engine`."""
        self.tuner = tuner
        self.optimizer = optimizer
        self.num_replicas = placement.num_replicas
        self._clip_norm = clip_norm
        self._scaling = optimizer if isinstance(optimizer, keras.optimizers.LossScaleOptimizer) else None
        self._sharding = None
        if placement.native is not None:
            mesh = placement.native.device_mesh.backend_mesh
            spec = jax.sharding.PartitionSpec(None, placement.native.batch_dim_name)
            self._sharding = jax.sharding.NamedSharding(mesh, spec)
        optimizer.build(tuner.trainable_variables)
        self._trainable = list(tuner.trainable_variables)
        self._frozen = list(tuner.non_trainable_weights)
        self._generators = list_generators(tuner)
        self._optimizer_variables = list(optimizer.variables)
        self.forget_compiled()

    def forget_compiled(self) -> None:
        """Makes the next step be built anew."""
        self._compiled: dict[tuple[int, ...], Any] = {}  # by shape of the token ids
        self._train = jax.jit(self._train_step, donate_argnums=(0, 1, 2))
        self._evaluate = jax.jit(self._evaluate_step)

    def reserve_memory(self, size: int) -> None:
        """Does nothing: JAX has allocators of its own."""

    def estimate_memory(self, num_micro_batches: int, rows: int, length: int) -> int:
        """Bytes that `train` needs besides weights and optimizer, as XLA has planned them."""
        step = make_blank_step(num_micro_batches, rows, length)
        changing = (self._trainable, self._generators, self._optimizer_variables)
        values = (*map(_get_values, changing), _get_values(self._frozen))
        compiled = self._train.lower(*values, self._distribute(step)).compile()
        self._compiled[step.token_ids.shape] = compiled  # `jit` would compile once more
        plan: Any = compiled.memory_analysis()
        return plan.temp_size_in_bytes + plan.output_size_in_bytes - plan.alias_size_in_bytes

    def train(self, step: Step) -> StepResult:
        """Updates the weights once."""
        changing = (self._trainable, self._generators, self._optimizer_variables)
        train = self._compiled.get(step.token_ids.shape, self._train)
        results = train(*map(_get_values, changing), _get_values(self._frozen), self._distribute(step))
        loss, norm, *values = results
        for variables, new in zip(changing, values, strict=True):
            for variable, value in zip(variables, new, strict=True):
                variable.assign(value)
        return StepResult(float(loss), float(norm))

    def evaluate(self, step: Step) -> float:
        """Sum over the step's positions of weight times negative log-likelihood, in nats."""
        values = map(_get_values, (self._trainable, self._generators, self._frozen))
        return float(self._evaluate(*values, self._distribute(step)))

    def is_same_everywhere(self, number: int) -> bool:
        """True: there is one process."""
        return True

    def _distribute(self, step: Step) -> tuple[Any, ...]:
        """Inputs (A, R * rows, sequence_length) and what the loss needs (A, R, K), sharded over their second axis."""
        inputs = [array.reshape(array.shape[0], -1, array.shape[-1]) for array in step[:2]]
        arrays = (*inputs, *step[2:])
        return arrays if self._sharding is None else tuple(jax.device_put(array, self._sharding) for array in arrays)

    def _train_step(self, trainable: Any, generators: Any, optimizer: Any, frozen: Any, arrays: Any) -> tuple[Any, ...]:
        scale = 1.0
        if self._scaling:
            scale = optimizer[self._index_of(self._scaling.dynamic_scale)]
        loss, generators, gradients = self._sum_gradients(trainable, generators, frozen, arrays, scale)
        norm = jnp.sqrt(sum(jnp.sum(jnp.square(gradient)) for gradient in gradients)) / scale
        factor = 1.0 if self._clip_norm is None else self._clip_norm / jnp.maximum(norm, self._clip_norm)
        is_finite = jnp.isfinite(norm) & jnp.isfinite(loss)
        if self._scaling:  # it wants to see what is not finite, to lower its scale
            gradients = [gradient * jnp.where(is_finite, factor, 1.0) for gradient in gradients]
        else:
            gradients = [jnp.where(is_finite, gradient * factor, 0.0) for gradient in gradients]
        trainable, optimizer = self.optimizer.stateless_apply(optimizer, gradients, trainable)
        return loss, norm, self._keep_layout(trainable), generators, optimizer

    def _sum_gradients(
        self, trainable: Any, generators: Any, frozen: Any, arrays: Any, scale: Any
    ) -> tuple[Any, Any, Any]:
        """Loss, generators afterwards, and scaled gradients, summed over micro-batches, one after the other."""

        def compute(generators: Any, micro_batch: Any) -> tuple[Any, Any, Any]:
            def scaled_loss(trainable: Any) -> tuple[Any, Any]:
                loss, after = self._compute_loss(trainable, generators, frozen, micro_batch, training=True)
                return loss * scale, (loss, after)

            gradients, (loss, after) = jax.grad(scaled_loss, has_aux=True)(trainable)
            return loss, after, gradients

        if arrays[0].shape[0] == 1:
            return compute(generators, [array[0] for array in arrays])

        def add(carry: Any, micro_batch: Any) -> tuple[Any, None]:
            total, generators, sums = carry
            loss, generators, gradients = compute(generators, micro_batch)
            return (total + loss, generators, [a + b for a, b in zip(sums, gradients, strict=True)]), None

        start = (jnp.zeros(()), generators, [jnp.zeros_like(value) for value in trainable])
        return jax.lax.scan(add, start, arrays)[0]

    def _evaluate_step(self, trainable: Any, generators: Any, frozen: Any, arrays: Any) -> Any:
        losses = []
        for index in range(arrays[0].shape[0]):
            micro_batch = [array[index] for array in arrays]
            losses.append(self._compute_loss(trainable, generators, frozen, micro_batch, training=False)[0])
        return sum(losses)

    def _compute_loss(
        self, trainable: Any, generators: Any, frozen: Any, micro_batch: Any, *, training: bool
    ) -> tuple[Any, Any]:
        token_ids, padding_mask, *loss_inputs = micro_batch
        variables = [*self._trainable, *self._generators, *self._frozen]
        mapping = list(zip(variables, [*trainable, *generators, *frozen], strict=True))
        with keras.StatelessScope(state_mapping=mapping) as scope:
            inputs = {"token_ids": token_ids, "padding_mask": padding_mask}
            loss = self.tuner.sum_losses(inputs, tuple(loss_inputs), training=training, static_shapes=True)
            after = [scope.get_current_value(variable) for variable in self._generators]
        return loss, after

    def _keep_layout(self, values: Any) -> Any:
        """Keeps XLA from choosing another sharding for the new weights than for the old ones."""
        if self._sharding is None:
            return values
        pairs = zip(values, self._trainable, strict=True)
        return [jax.lax.with_sharding_constraint(value, variable.value.sharding) for value, variable in pairs]

    def _index_of(self, wanted: Any) -> int:
        return next(i for i, variable in enumerate(self._optimizer_variables) if variable is wanted)


def _get_values(variables: Any) -> list[jax.Array]:
    return [variable.value for variable in variables]
