"""A batch worked on in chunks of similar length inside a TensorFlow graph, so that memory has a bound whatever the batch."""

from collections.abc import Callable

import tensorflow as tf


def map_chunks(
    fn: Callable[[tf.Tensor], tuple[tf.Tensor, ...]],
    lengths: tf.Tensor,
    num_rows: Callable[[tf.Tensor], tf.Tensor | int],
    results: tuple[tf.Tensor, ...],
    spread: int | None = None,
) -> tuple[tf.Tensor, ...]:
    """Returns `results` with the rows that `fn` gives, chunk by chunk, longest examples first.

    Args:
        fn: From row numbers, int32 (rows,), to that many rows of each result.
        lengths: int32 (batch,), tokens of each example.
        num_rows: From the longest length of a chunk to how many rows it may have.
        results: What to start from, each (batch, ...).
        spread: By how much lengths in one chunk may differ; None for no bound.
    """
    order = tf.argsort(lengths, direction="DESCENDING", stable=True)
    size = tf.size(lengths)

    def step(begin: tf.Tensor, results: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, tuple[tf.Tensor, ...]]:
        longest = tf.maximum(lengths[order[begin]], 2)
        end = tf.minimum(begin + tf.maximum(num_rows(longest), 1), size)
        if spread is not None:
            end = tf.minimum(end, tf.math.count_nonzero(lengths >= lengths[order[begin]] - spread, dtype=tf.int32))
        rows = order[begin:end]
        updates = zip(results, fn(rows), strict=True)
        return end, tuple(tf.tensor_scatter_nd_update(all_rows, rows[:, None], new) for all_rows, new in updates)

    start = tf.zeros([], tf.int32)
    _, results = tf.while_loop(lambda begin, _: begin < size, step, (start, results), parallel_iterations=1)
    return results
