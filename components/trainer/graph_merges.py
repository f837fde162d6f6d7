"""The merges of a byte-pair encoding inside a TensorFlow graph."""

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from components.text.token_texts import byte_symbols

_NONE = np.int64(np.iinfo(np.int32).max)  # no rank is as high


class Merges(tf.Module):
    """Joins the symbols of words: one pair in every word at a time, the one of lowest rank, the leftmost of equals.

    Words are cut further where no merge can go across: between two characters (or bytes) that stand side by side in no token. The
    parts are independent of each other, so that the result is that of the whole word, in fewer steps.
    """

    def __init__(self, model: Mapping[str, Any], *, byte_level: bool):
        """Builds the tables.

        Args:
            model: `model` of a `tokenizer.json`.
            byte_level: Whether a token's characters stand for bytes.
        """
        super().__init__()
        vocabulary: Mapping[str, int] = model["vocab"]
        merges = [merge.split(" ") if isinstance(merge, str) else merge for merge in model["merges"]]
        keys = [vocabulary[left] << 32 | vocabulary[right] for left, right in merges]
        # The library keeps the last of equal pairs.
        ranks = {key: rank for rank, key in enumerate(keys)}
        self._ranks = make_table(list(ranks) or [-2], list(ranks.values()) or [_NONE], tf.int64, _NONE)
        self._results = tf.constant([vocabulary[left + right] for left, right in merges] or [0], tf.int64)  # by rank
        to_value = {symbol: byte for byte, symbol in enumerate(byte_symbols())} if byte_level else None
        pairs = set()
        for left, right in merges:
            values = [to_value[symbol] if to_value else ord(symbol) for symbol in left + right]
            pairs.update(itertools.pairwise(values))
        self._pairs = make_table([a << 32 | b for a, b in pairs] or [-2], [1] * (len(pairs) or 1), tf.int64, 0)

    def cut(self, values: tf.Tensor, words: tf.Tensor) -> tf.Tensor:
        """Returns the words cut further, int32 (symbols,).

        Args:
            values: int32 (symbols,), code points or bytes; less than 0 where no merge takes the symbol.
            words: int32 (symbols,), ascending.
        """
        wide = tf.cast(values, tf.int64)
        joined = self._pairs.lookup(tf.bitwise.left_shift(wide[:-1], 32) | wide[1:]) > 0
        return number_steps(~joined | (words[1:] != words[:-1]))[: tf.size(words)]

    def __call__(self, ids: tf.Tensor, words: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the tokens, int64 (tokens,), and the place of each one's first symbol, int64 (tokens,).

        Args:
            ids: int64 (symbols,), ids of the single symbols.
            words: int32 (symbols,), the word of each, from 0 on without a gap.
        """
        size = tf.size(ids)

        def step(
            done: tf.TensorArray, done_places: tf.TensorArray, ids: tf.Tensor, words: tf.Tensor, places: tf.Tensor
        ) -> tuple[Any, ...]:
            count = tf.size(ids)
            pairs = tf.where(words[:-1] == words[1:], tf.bitwise.left_shift(ids[:-1], 32) | ids[1:], -1)
            ranks = tf.concat([self._ranks.lookup(pairs), [_NONE]], 0)
            # Rank and place in one number: the least of a word is its next merge.
            best = tf.math.segment_min(tf.bitwise.left_shift(ranks, 32) | tf.range(tf.cast(count, tf.int64)), words)
            more = tf.bitwise.right_shift(best, 32) < _NONE  # (words,)
            chosen = tf.boolean_mask(best, more)
            at = tf.bitwise.bitwise_and(chosen, 0xFFFFFFFF)[:, None]
            merged = tf.gather(self._results, tf.bitwise.right_shift(chosen, 32))
            ids = tf.tensor_scatter_nd_update(ids, at, merged)
            keep = tf.tensor_scatter_nd_update(tf.fill([count], True), at + 1, tf.zeros_like(chosen, tf.bool))
            goes_on = tf.gather(more, words)
            # What has no more merges is put aside: later steps have few words left.
            ends = tf.where(~goes_on)[:, 0]
            done = done.write(done.size(), tf.gather(ids, ends))
            done_places = done_places.write(done_places.size(), tf.gather(places, ends))
            stays = tf.where(keep & goes_on)[:, 0]
            return done, done_places, tf.gather(ids, stays), number(tf.gather(words, stays)), tf.gather(places, stays)

        one = tf.TensorShape([None])
        arrays = [
            tf.TensorArray(dtype, 0, dynamic_size=True, infer_shape=False, element_shape=one, clear_after_read=False)
            for dtype in (tf.int64, tf.int32)
        ]
        # One step at least, so that the arrays are not empty.
        state = step(*arrays, ids, words, tf.range(size))
        done, places, *_ = tf.while_loop(
            lambda done, places, ids, *_: tf.size(ids) > 0,
            step,
            state,
            shape_invariants=(tf.TensorShape(None), tf.TensorShape(None), one, one, one),
            parallel_iterations=1,
        )
        tokens = tf.tensor_scatter_nd_update(
            tf.fill([size], tf.constant(-1, tf.int64)), places.concat()[:, None], done.concat()
        )
        at = tf.where(tokens >= 0)[:, 0]
        return tf.gather(tokens, at), at


def number(groups: tf.Tensor) -> tf.Tensor:
    """Returns ascending numbers, (symbols,), as int32 from 0 on without a gap."""
    return number_steps(groups[1:] != groups[:-1])[: tf.size(groups)]


def number_steps(is_step: tf.Tensor) -> tf.Tensor:
    """Returns numbers from 0 on, int32 (symbols,), that rise where there is a step, bool (symbols - 1,)."""
    return tf.cumsum(tf.concat([tf.zeros([1], tf.int32), tf.cast(is_step, tf.int32)], 0))


def make_table(keys: Any, values: Any, dtype: tf.DType, default: int) -> tf.lookup.StaticHashTable:
    """Returns a table from `keys` to `values` with a default."""
    keys = tf.constant(keys, tf.int64) if not keys or not isinstance(keys[0], (str, bytes)) else tf.constant(keys)
    initializer = tf.lookup.KeyValueTensorInitializer(keys, tf.constant(values, dtype))
    return tf.lookup.StaticHashTable(initializer, default)
