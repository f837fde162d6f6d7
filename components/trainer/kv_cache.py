"""A key-value cache that is updated in place, for KerasHub's decoders on TensorFlow.

KerasHub passes the cache of all layers as one tensor through `call_with_cache`. In a TensorFlow graph each layer then copies
its part out, writes one position into a copy, and transposes another copy for the matrix products, and all parts are copied
together again: at GPT-2's size, 32 sequences of 192 tokens, several times 450 MB a token.

Here the model's own `call_with_cache` is traced, so that every architecture computes what it always does, while the operations
that touch the cache are replaced: `slice_update` writes into tensors that the loop carries, one each for the keys and values of
a layer, laid out as the matrix products want them, and `einsum` reads them there. What is not recognised sees an ordinary
tensor of the ordinary shape, and is as slow as before. Blocks that are alike are traced once.
"""

import contextlib
import inspect
from collections.abc import Iterator, Sequence
from typing import Any
from unittest import mock

import keras
import keras_hub
import tensorflow as tf
from keras.src.backend.tensorflow import core as keras_core
from keras.src.backend.tensorflow import numpy as keras_numpy

from components.trainer.block_functions import BlockFunctions, Blocks

_EINSUM, _REPEAT, _TRANSPOSE = tf.einsum, tf.repeat, keras_numpy.transpose


def is_supported(model: keras_hub.models.CausalLM) -> bool:
    """Whether the model keeps one cache of keys and values, as KerasHub's decoders of text do."""
    return all(
        list(inspect.signature(getattr(model, name, len)).parameters) == names
        for name, names in (
            ("_build_cache", ["token_ids"]),
            ("call_with_cache", ["token_ids", "cache", "cache_update_index"]),
        )
    )


def fill(model: keras_hub.models.CausalLM, token_ids: tf.Tensor, blocks: Blocks) -> list[tf.Tensor]:
    """Runs the model over prompts.

    Args:
        model: The model; `is_supported`.
        token_ids: int32 (batch, length).
        blocks: The model's.

    Returns:
        Keys and values of each layer in turn: (batch, heads, length, head_dim) each.
    """
    found: list[tf.Tensor] = []

    def record(inputs: Any, start_indices: Sequence[Any], updates: Any) -> tf.Tensor:
        found.append(_swap(updates))
        return updates

    def compute(call: Any, args: Sequence[Any], kwargs: dict[str, Any], _: list[tf.Tensor]) -> Any:
        found.clear()
        output, _ = call(*args, **kwargs)
        return _without_cache(output), list(found)

    functions = BlockFunctions(blocks, compute)
    with mock.patch.object(keras_core, "slice_update", record), products_of_matrices(), functions.installed():
        model._build_cache(token_ids)
    return functions.list_handed_on() or found


def _without_cache(output: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """What a block gives: its output and its cache. The model stacks the caches, which nobody reads: it gets something else."""
    return output, output


class Step:
    """One step of decoding, traced inside of a loop; what does not change from step to step is computed outside."""

    def __init__(self, model: keras_hub.models.CausalLM, blocks: Blocks):
        """Sets it up in the graph outside of the loop."""
        self._model = model
        self._functions = BlockFunctions(blocks, self._run_block)
        self._outside = None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
        self._transposed: dict[int, tf.Tensor] = {}

    def make_stand_in(self, cache: Sequence[tf.Tensor]) -> tf.Tensor:
        """Returns what the model is shown for the cache of a layer: it asks for its shape and never reads it."""
        batch, heads, length, dim = tf.unstack(tf.shape(cache[0]))
        shape = [None, 2, None, cache[0].shape[1], cache[0].shape[3]]
        return tf.ensure_shape(tf.zeros([batch, 2, length, heads, dim], cache[0].dtype), shape)

    def __call__(
        self, token_ids: tf.Tensor, index: tf.Tensor, cache: Sequence[tf.Tensor], stand_in: tf.Tensor
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Runs the model over one token of each sequence.

        Args:
            token_ids: int32 (batch, 1).
            index: int32, the tokens' position.
            cache: As `fill` gives it, with room at `index`. Changed in place: it must not be used again.
            stand_in: From `make_stand_in`, for a cache of that length.

        Returns:
            Logits of the next token, (batch, vocabulary), and the cache with these tokens.
        """
        per_block = len(cache) // max(self._functions.num_blocks, 1)
        trace = _Trace(cache)  # of a model whose blocks are not known
        with (
            trace.installed(self._transpose),
            self._functions.installed(lambda number: list(cache[number * per_block : (number + 1) * per_block])),
        ):
            logits, *_ = self._model.call_with_cache(token_ids, _Layers(stand_in), index)
        return logits[:, 0], self._functions.list_handed_on() or trace.updated

    @staticmethod
    def _run_block(call: Any, args: Sequence[Any], kwargs: dict[str, Any], cache: list[tf.Tensor]) -> Any:
        trace = _Trace(cache)
        with trace.installed():
            output, _ = call(*args, **kwargs)
        return _without_cache(output), trace.updated

    def _transpose(self, x: Any, axes: Sequence[int] | None = None) -> tf.Tensor:
        if not (isinstance(x, keras.Variable) and axes is None and self._outside):
            return tf.transpose(x, axes)
        # The embedding as the last layer's kernel: 150 MB that would be transposed at every step.
        if id(x) not in self._transposed:
            with self._outside.as_default():
                self._transposed[id(x)] = tf.transpose(tf.convert_to_tensor(x))
        return self._transposed[id(x)]


class _Layers:
    """Stands for the cache of all layers."""

    def __init__(self, one: tf.Tensor):
        self._one = one

    def __getitem__(self, key: tuple[Any, ...]) -> tf.Tensor:
        return self._one


class _Trace:
    """The operations on the cache while one step is traced."""

    def __init__(self, cache: Sequence[tf.Tensor]):
        self.updated: list[tf.Tensor] = []
        self._cache = cache
        # By the id of the tensor that the model sees (kept alive, so that no other gets its id): where its content is.
        self._views: dict[int, tuple[tf.Tensor, tf.Tensor]] = {}

    @contextlib.contextmanager
    def installed(self, transpose: Any = _TRANSPOSE) -> Iterator[None]:
        """Makes models use these operations, and `transpose` for Keras' own."""
        with (
            mock.patch.object(keras_core, "slice_update", self.slice_update),
            mock.patch.object(keras_numpy, "transpose", transpose),
            mock.patch.object(tf, "repeat", self.repeat),
            products_of_matrices(self.einsum),
        ):
            yield

    def slice_update(self, inputs: Any, start_indices: Sequence[Any], updates: Any) -> tf.Tensor:
        """Keras' operation: (batch, 1, heads, head_dim) goes to one position of all sequences."""
        old = self._cache[len(self.updated)]
        shape = tf.shape(old)
        places = tf.range(shape[0] * shape[1]) * shape[2] + start_indices[1]
        # The kernel writes into the buffer that it is given. The loop's variable has no other reader.
        rows = tf.raw_ops.InplaceUpdate(x=tf.reshape(old, [-1, old.shape[3]]), i=places, v=_rows(updates))
        new = tf.ensure_shape(tf.reshape(rows, shape), old.shape)
        self.updated.append(new)
        return self._remember(_swap(new), new)

    def repeat(self, input: Any, repeats: Any, axis: int | None = None, name: str | None = None) -> tf.Tensor:
        """TensorFlow's: heads of keys and values that several heads of queries share."""
        repeated = _REPEAT(input, repeats, axis, name)
        if id(input) in self._views and axis == 2:
            self._remember(repeated, self._views[id(input)][1])
        return repeated

    def einsum(self, equation: str, *operands: Any, **options: Any) -> tf.Tensor | None:
        """TensorFlow's, of queries with keys or of weights with values; None for any other."""
        held = [id(operand) in self._views for operand in operands]
        if len(operands) != 2 or sum(held) != 1 or options.get("optimize") not in (None, "optimal"):
            return None
        inputs, _, output = equation.partition("->")
        labels = inputs.split(",")
        where = held.index(True)
        other, cache = operands[1 - where], self._views[id(operands[where])][1]
        batch, position, head, dim = list(labels[where])
        free = [label for label in labels[1 - where] if label not in labels[where]]
        shared = {position, dim} & set(labels[1 - where])
        if {batch, head} - set(labels[1 - where]) or len(shared) != 1 or len(output) != 3 + len(free):
            return None
        (summed,) = shared
        kept = dim if summed == position else position
        wanted = [batch, head, *free, summed]
        other = _permute(other, labels[1 - where], wanted)
        shape = tf.shape(other)
        # Heads that share keys are rows of one product.
        rows = tf.reshape(other, [shape[0], tf.shape(cache)[1], -1, shape[-1]])
        product = tf.matmul(rows, cache, transpose_b=summed == dim)
        product = tf.reshape(product, tf.concat([shape[:-1], tf.shape(product)[-1:]], 0))
        last = cache.shape[3] if kept == dim else cache.shape[2]
        product.set_shape([*other.shape[:-1], last])
        return _permute(product, [*wanted[:-1], kept], output)

    def _remember(self, view: tf.Tensor, cache: tf.Tensor) -> tf.Tensor:
        self._views[id(view)] = (view, cache)
        return view


@contextlib.contextmanager
def products_of_matrices(first: Any = None) -> Iterator[None]:
    """Traces `einsum` with a matrix of weights as one product of matrices, also where a length is not known.

    Keras does so only where all lengths are known; TensorFlow's own operation is half as fast.

    Args:
        first: Is asked first; None from it stands for no.
    """

    def einsum(equation: str, *operands: Any, **options: Any) -> tf.Tensor:
        result = first(equation, *operands, **options) if first else None
        if result is None:
            result = _multiply(equation, operands)
        return _EINSUM(equation, *operands, **options) if result is None else result

    with mock.patch.object(keras_numpy, "einsum", einsum), mock.patch.object(tf, "einsum", einsum):
        yield


def _multiply(equation: str, operands: Sequence[Any]) -> tf.Tensor | None:
    inputs, _, output = equation.partition("->")
    if len(operands) != 2 or "." in equation:
        return None
    left, right = inputs.split(",")
    for count in range(1, len(right)):
        if left[-count:] == right[:count] and output == left[:-count] + right[count:]:
            return tf.tensordot(tf.convert_to_tensor(operands[0]), tf.convert_to_tensor(operands[1]), count)
    return None


def _permute(x: tf.Tensor, labels: Sequence[str], wanted: Sequence[str]) -> tf.Tensor:
    order = [list(labels).index(label) for label in wanted]
    return x if order == sorted(order) else tf.transpose(x, order)


def _swap(x: tf.Tensor) -> tf.Tensor:
    """(batch, position, head, dim) to (batch, head, position, dim), or back."""
    return tf.transpose(x, [0, 2, 1, 3])


def _rows(x: tf.Tensor) -> tf.Tensor:
    return tf.reshape(x, [-1, x.shape[-1]])
