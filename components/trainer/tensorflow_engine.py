"""Steps on the TensorFlow backend, on one device or under a `tf.distribute` strategy."""

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

from components.errors import UserError
from components.trainer.data import Step, make_blank_step
from components.trainer.engine import StepResult
from components.trainer.fine_tuner import FineTuner
from components.trainer.graph_memory import count_operations, estimate_peak
from components.trainer.placement import Placement
from components.trainer.target_loss import LOGITS_PER_CHUNK

# TensorFlow keeps a graph as Python made it, as it was optimized and as it is executed, and so does its compiler: measured by the
# resident memory of a process before tracing and after a step of a few tokens, models of 2 to 30 blocks.
_BYTES_PER_OPERATION = 20_000
# What operations that run side by side, and an allocator that cuts memory up, need besides: five steps of the models of
# test_memory_peak.py and of SmolLM2-135M needed 0.94 to 1.1 times what is then estimated.
_ALLOCATED = 1.15
# Of one replica's part of a step: any number of micro-batches, rows, columns, and positions.
_SHAPES = (
    tf.TensorSpec([None, None, None], tf.int32),
    tf.TensorSpec([None, None, None], tf.int32),
    tf.TensorSpec([None, None], tf.int32),
    tf.TensorSpec([None, None], tf.int32),
    tf.TensorSpec([None, None], tf.float32),
)


class TensorFlowEngine:
    """An `Engine`. One `tf.function` is a whole step."""

    def __init__(
        self,
        tuner: FineTuner,
        optimizer: keras.optimizers.Optimizer,
        placement: Placement,
        *,
        clip_norm: float | None,
        jit_compile: bool,
    ) -> None:
        """See `make_engine`."""
        self.tuner = tuner
        self.optimizer = optimizer
        self.num_replicas = placement.num_replicas
        self._num_workers = placement.cluster.num_workers
        self._strategy = placement.native or tf.distribute.get_strategy()
        self._clip_norm = clip_norm
        self._jit_compile = jit_compile
        self._scaling = optimizer if isinstance(optimizer, keras.optimizers.LossScaleOptimizer) else None
        with placement.scope():
            optimizer.build(tuner.trainable_variables)
        if self.num_replicas > 1:
            # Gradients are summed over replicas here, then clipped. Keras would clip each replica's own, then sum
            # (known since https://github.com/tensorflow/tensorflow/issues/33929), and so must not sum once more.
            inner = self._scaling.inner_optimizer if self._scaling else optimizer
            inner._all_reduce_sum_gradients = lambda pairs: pairs
        self.forget_compiled()

    def forget_compiled(self) -> None:
        """Makes the next step be built anew."""
        # XLA cannot compile the exchange between replicas: there it gets what each replica computes alone.
        compiles_all = self._jit_compile and self.num_replicas == 1
        options: dict[str, Any] = {"jit_compile": compiles_all, "autograph": False}
        # XLA compiles one program a padded length. Without it, one graph serves all shapes, and is made once.
        if self.num_replicas == 1 and not self._jit_compile:
            options["input_signature"] = [_SHAPES]
        else:
            options["reduce_retracing"] = not self._jit_compile
        self._train = tf.function(self._train_everywhere, **options)
        self._evaluate = tf.function(self._evaluate_everywhere, **options)
        self._gradients, self._losses = self._sum_gradients, self._sum_losses
        if self._jit_compile and self.num_replicas > 1:
            self._gradients, self._losses = (
                tf.function(f, jit_compile=True, autograph=False) for f in (self._gradients, self._losses)
            )

    def reserve_memory(self, size: int) -> None:
        """Lets the BFC allocator have one region that steps of all lengths then share; its pages stay untouched until used."""
        if os.environ.get("TF_CPU_ALLOCATOR_USE_BFC") == "1":
            with tf.device("CPU:0"):
                tf.raw_ops.Empty(shape=[size // 2**20 + 1, 2**18], dtype=tf.float32, init=False)

    def estimate_memory(self, num_micro_batches: int, rows: int, length: int) -> int:
        """Bytes that `train` needs besides weights and optimizer, by its graph; XLA needs less where it fuses operations."""
        blank = make_blank_step(num_micro_batches, rows, length)
        if self._jit_compile:
            graph = self._train.get_concrete_function(self._distribute(blank)).graph
        else:
            graph = self._train.get_concrete_function().graph  # the one that trains: it is traced once
        peak = estimate_peak(graph, 4 * LOGITS_PER_CHUNK, [array[:, 0].shape for array in blank])
        return int(_ALLOCATED * peak) + _BYTES_PER_OPERATION * count_operations(graph)

    def train(self, step: Step) -> StepResult:
        """Updates the weights once."""
        with self._explain_lost_workers():
            loss, norm = self._train(self._distribute(step))
            return StepResult(float(loss), float(norm))

    def evaluate(self, step: Step) -> float:
        """Sum over the step's positions of weight times negative log-likelihood, in nats."""
        with self._explain_lost_workers():
            return float(self._evaluate(self._distribute(step)))

    def is_same_everywhere(self, number: int) -> bool:
        """Whether all workers call this with the same number."""
        if self.num_replicas == 1:
            return True

        def add_up() -> tf.Tensor:
            mine = tf.constant([1.0, number, number**2], tf.float64)
            return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, mine)

        count, total, of_squares = self._strategy.experimental_local_results(self._strategy.run(add_up))[0].numpy()
        return bool(count * of_squares == total**2)

    @contextlib.contextmanager
    def _explain_lost_workers(self) -> Iterator[None]:
        try:
            yield
        except (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError) as error:
            if self._num_workers == 1:
                raise
            raise UserError(
                f"another worker of this training has ended or cannot be reached ({error.message[:300]}). Start all workers "
                "again: training goes on from the last checkpoint."
            ) from error

    def _distribute(self, step: Step) -> Any:
        """The arrays of each replica: (A, rows, sequence_length) and (A, K)."""
        if self.num_replicas == 1:
            return tuple(tf.constant(array[:, 0]) for array in step)
        return self._strategy.experimental_distribute_values_from_function(
            lambda context: tuple(tf.constant(array[:, context.replica_id_in_sync_group]) for array in step)
        )

    def _train_everywhere(self, arrays: Any) -> tuple[Any, Any]:
        results = self._strategy.run(self._train_replica, args=(arrays,))
        return tuple(self._strategy.experimental_local_results(result)[0] for result in results)

    def _evaluate_everywhere(self, arrays: Any) -> Any:
        return self._strategy.experimental_local_results(self._strategy.run(self._evaluate_replica, args=(arrays,)))[0]

    def _train_replica(self, arrays: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, tf.Tensor]:
        scale = tf.convert_to_tensor(self._scaling.dynamic_scale if self._scaling else 1.0)
        loss, gradients = self._add_up(self._gradients(scale, *arrays))
        norm = tf.linalg.global_norm(gradients) / scale
        factor = 1.0 if self._clip_norm is None else self._clip_norm / tf.maximum(norm, self._clip_norm)
        is_finite = tf.math.is_finite(norm) & tf.math.is_finite(loss)
        if self._scaling:  # it wants to see what is not finite, to lower its scale
            gradients = [gradient * tf.where(is_finite, factor, 1.0) for gradient in gradients]
        else:
            factor = tf.where(is_finite, factor, 0.0)
            gradients = [tf.math.multiply_no_nan(gradient, factor) for gradient in gradients]
        self.optimizer.apply(gradients)
        return loss, norm

    def _evaluate_replica(self, arrays: tuple[tf.Tensor, ...]) -> tf.Tensor:
        loss, _ = self._add_up((self._losses(*arrays), []))
        return loss

    def _add_up(self, results: tuple[tf.Tensor, list[tf.Tensor]]) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Sums over replicas."""
        if self.num_replicas == 1:
            return results
        loss, gradients = results
        loss, *gradients = tf.distribute.get_replica_context().all_reduce(
            tf.distribute.ReduceOp.SUM, [loss, *gradients]
        )
        return loss, gradients

    def _sum_gradients(self, scale: tf.Tensor, *arrays: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Loss and scaled gradients of one replica, summed over its micro-batches, one after the other."""
        variables = [variable.value for variable in self.tuner.trainable_variables]

        def compute(index: Any) -> tuple[tf.Tensor, list[tf.Tensor]]:
            inputs, loss_inputs = _take_micro_batch(arrays, index)
            with tf.GradientTape() as tape:
                loss = self.tuner.sum_losses(inputs, loss_inputs, training=True, static_shapes=self._jit_compile)
                scaled = loss * scale
            gradients = tape.gradient(scaled, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO)
            return loss, [tf.convert_to_tensor(gradient) for gradient in gradients]

        if arrays[0].shape[0] == 1:
            return compute(0)
        num_micro_batches = tf.shape(arrays[0])[0]  # not known where one graph serves all lengths

        def add(index: Any, loss: Any, *sums: Any) -> tuple[Any, ...]:
            more, gradients = compute(index)
            return index + 1, loss + more, *(total + gradient for total, gradient in zip(sums, gradients, strict=True))

        zeros = [tf.zeros(variable.shape, variable.dtype) for variable in variables]
        _, loss, *sums = tf.while_loop(
            lambda index, *_: index < num_micro_batches,
            add,
            (0, 0.0, *zeros),
            parallel_iterations=1,  # more would need the memory of more
        )
        return loss, sums

    def _sum_losses(self, *arrays: tf.Tensor) -> tf.Tensor:
        def add(index: Any, total: Any) -> tuple[Any, Any]:
            inputs, loss_inputs = _take_micro_batch(arrays, index)
            loss = self.tuner.sum_losses(inputs, loss_inputs, training=False, static_shapes=self._jit_compile)
            return index + 1, total + loss

        if arrays[0].shape[0] == 1:
            return add(0, 0.0)[1]
        return tf.while_loop(lambda index, *_: index < tf.shape(arrays[0])[0], add, (0, 0.0), parallel_iterations=1)[1]


def _take_micro_batch(arrays: Any, index: Any) -> tuple[dict[str, tf.Tensor], tuple[tf.Tensor, ...]]:
    token_ids, padding_mask, *loss_inputs = (array[index] for array in arrays)
    return {"token_ids": token_ids, "padding_mask": padding_mask}, tuple(array[None] for array in loss_inputs)
