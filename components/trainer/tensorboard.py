"""TensorBoard scalars of a training."""

import time

from components.trainer.engine import StepResult
from components.trainer.state import TrainState


class TensorBoardWriter:
    """Writes `loss`, `learning_rate` and `tokens_per_second` of every step, and `eval_loss`. A `Listener`.

    Keras' own callback belongs to `fit`, whose epochs and batches are not this training's steps; it and
    `tf.summary.scalar` also need the tensorboard package, which only those who look at the logs must have.
    """

    def __init__(self, directory: str) -> None:
        import tensorflow as tf  # the format's writer; any backend may train

        self._tf = tf
        self._writer = tf.summary.create_file_writer(directory)
        plugin = tf.compat.v1.SummaryMetadata.PluginData(plugin_name="scalars")
        self._metadata = tf.compat.v1.SummaryMetadata(plugin_data=plugin, data_class="DATA_CLASS_SCALAR")
        self._last: tuple[float, int] | None = None

    def on_step(self, state: TrainState, result: StepResult, learning_rate: float) -> None:
        """Writes the scalars of a step."""
        now = time.monotonic()
        self._write("loss", result.loss, state.step)
        self._write("gradient_norm", result.gradient_norm, state.step)
        self._write("learning_rate", learning_rate, state.step)
        if self._last:
            speed = (state.tokens_seen - self._last[1]) / max(now - self._last[0], 1e-9)
            self._write("tokens_per_second", speed, state.step)
        self._last = (now, state.tokens_seen)

    def on_evaluation(self, state: TrainState) -> None:
        """Writes the evaluation loss."""
        self._write("eval_loss", state.eval_loss, state.step)
        self._writer.flush()
        self._last = None  # the evaluation's seconds are not the training's

    def close(self) -> None:
        """Writes out what is buffered."""
        self._writer.close()

    def _write(self, tag: str, value: float, step: int) -> None:
        with self._writer.as_default(step=step):
            self._tf.summary.write(tag, self._tf.constant(value, self._tf.float32), metadata=self._metadata)
