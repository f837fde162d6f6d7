"""Keras' update of a slice by plain TensorFlow operations, for graphs that are saved and served."""

import functools
from collections.abc import Callable, Sequence
from typing import Any
from unittest import mock

import tensorflow as tf
from keras.src.backend.tensorflow import core as keras_core


def without_xla(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Returns `fn` traced without XLA operations.

    Keras updates a slice through XLA, which TensorFlow compiles anew for every shape of cache, and which TensorFlow
    Serving refuses on a CPU unless it is told otherwise.
    """

    @functools.wraps(fn)
    def traced(*arguments: Any) -> Any:
        with mock.patch.object(keras_core, "slice_update", slice_update):
            return fn(*arguments)

    return traced


def slice_update(inputs: Any, start_indices: Sequence[Any], updates: Any) -> tf.Tensor:
    """Returns `keras.ops.slice_update` by plain TensorFlow operations."""
    inputs, updates = tf.convert_to_tensor(inputs), tf.convert_to_tensor(updates)
    moved = [axis for axis, start in enumerate(start_indices) if not (isinstance(start, int) and start == 0)]
    old, new = tf.shape(inputs), tf.shape(updates)
    if len(moved) == 1:
        # The usual case, one step of decoding: one axis moves, the update spans the others.
        axis, start = moved[0], start_indices[moved[0]]
        rest = old[axis] - start - new[axis]
        before, _, after = tf.split(inputs, [start, new[axis], rest], axis=axis, num=3)
        return tf.concat([before, updates, after], axis)
    starts = tf.stack([tf.cast(start, tf.int32) for start in start_indices])
    paddings = tf.stack([starts, old - starts - new], axis=1)
    return tf.where(tf.pad(tf.ones_like(updates, tf.bool), paddings), tf.pad(updates, paddings), inputs)
