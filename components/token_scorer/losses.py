"""Losses of single tokens under a causal LM, at chosen positions only."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from components.trainer.target_head import split_head, take_positions

# Logits held at once (float32, 128 MiB). Positions are projected in chunks of so many, whatever the batch.
LOGITS_PER_CHUNK = 2**25


class TokenLosses:
    """Computes -log p(token | tokens before it), in nats, of target tokens.

    The hidden states of a batch are computed once; the output layer sees the target positions alone, chunk by chunk, so that
    there is never an array of batch by length by vocabulary.
    """

    def __init__(self, model: keras.Model):
        """Compiles the computation.

        Args:
            model: A causal LM, see `split_head`.
        """
        head = split_head(model)
        self._project = head.project
        self._states = keras.Model(model.input, head.states)
        self._chunk = max(LOGITS_PER_CHUNK // int(model.output.shape[-1]), 1)
        matrix, vector = tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([None], tf.int32)
        self._compute = tf.function(
            self._compute_losses, input_signature=[matrix, matrix, vector, vector], autograph=False
        )

    def __call__(
        self, token_ids: np.ndarray, padding_mask: np.ndarray, positions: np.ndarray, targets: np.ndarray
    ) -> np.ndarray:
        """Returns the losses of `targets`, float32 (K,).

        Args:
            token_ids: int32 (batch, length), padded on the right.
            padding_mask: int32 (batch, length), 1 on tokens.
            positions: int32 (K,), flat: `row * length + column`, the position *before* each target.
            targets: int32 (K,).
        """
        return self._compute(token_ids, padding_mask, positions, targets).numpy()

    def _compute_losses(self, token_ids: Any, padding_mask: Any, positions: Any, targets: Any) -> Any:
        states = self._states({"token_ids": token_ids, "padding_mask": padding_mask}, training=False)
        rows = take_positions(states, positions[None])[0]  # (K, width)
        # A short rest is filled up with its first rows, so that all chunks have one shape.
        num_rows = tf.size(positions)
        chunk = tf.minimum(self._chunk, num_rows)
        num_chunks = (num_rows + chunk - 1) // chunk
        index = tf.reshape(tf.range(num_chunks * chunk) % num_rows, [num_chunks, chunk])

        def compute_chunk(rows_of_chunk: Any) -> Any:
            logits = ops.cast(self._project(tf.gather(rows, rows_of_chunk)), "float32")  # (chunk, vocabulary)
            return tf.nn.sparse_softmax_cross_entropy_with_logits(tf.gather(targets, rows_of_chunk), logits)

        losses = tf.map_fn(compute_chunk, index, fn_output_signature=tf.float32, parallel_iterations=1)
        return tf.reshape(losses, [-1])[:num_rows]
