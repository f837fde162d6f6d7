"""The cut of token cleaning: which response tokens stay training targets, found by full passes over the data.

Both cuts keep the top share of the tokens *exactly*, but for the error of the quantiles, whatever the scores are: tokens that
tie at the cut (all of them, if all scores are equal) are kept or dropped by a hash of their place.
"""

from typing import Any

import tensorflow as tf
import tensorflow_transform as tft

# Quantiles are read off a grid, from a sketch whose memory does not grow with the data. Both errors are in ranks, as shares of
# the number of tokens.
_GRID = 10_000
_SKETCH_ERROR = 1e-4
RANK_ERROR_BOUND = _SKETCH_ERROR + 0.5 / _GRID

# Multipliers and modulus of the hash; all products stay below 2^63.
_MODULUS = 2**31 - 1
_ROW_FACTOR = 1_103_515_245
_COLUMN_FACTOR = 1_327_217_885


def hash_places(example_id: tf.Tensor, token_ids: tf.RaggedTensor) -> tf.RaggedTensor:
    """Returns a number for every token that depends on its example and position alone and looks random.

    Args:
        example_id: string (batch,).
        token_ids: (batch, n); only its shape is used.

    Returns:
        float32 (batch, n) in [0, 1).
    """
    rows = tf.gather(_hash_rows(example_id), token_ids.value_rowids())
    columns = tf.ragged.range(token_ids.row_lengths()).flat_values
    places = (rows * _ROW_FACTOR + (tf.cast(columns, tf.int64) + 1) * _COLUMN_FACTOR) % _MODULUS
    # Sums of multiples alone would make the numbers of neighbours alike in all examples.
    places = (places * (places // 128 + 1)) % _MODULUS * _ROW_FACTOR % _MODULUS
    return token_ids.with_flat_values(tf.cast(tf.cast(places, tf.float64) / _MODULUS, tf.float32))


def cut_dataset(scores: tf.Tensor, is_candidate: tf.Tensor, places: tf.Tensor, keep: float) -> tf.Tensor:
    """Keeps the top share of all candidates of the data set.

    Args:
        scores: float32 (tokens,).
        is_candidate: bool (tokens,); tokens that are none are neither counted nor kept.
        places: float32 (tokens,), see `hash_places`; the higher ones of tied tokens are kept.
        keep: share in (0, 1].

    Returns:
        bool (tokens,): whether a token is kept.
    """
    candidates = tf.boolean_mask(scores, is_candidate)
    threshold = _quantile(candidates, 1 - keep)
    is_tied = is_candidate & (scores == threshold)
    total, above, tied = (
        tf.cast(tft.sum(tf.cast(mask, tf.int64)), tf.float64)
        for mask in (is_candidate, is_candidate & (scores > threshold), is_tied)
    )
    share_of_tied = tf.clip_by_value((keep * total - above) / tf.maximum(tied, 1), 0, 1)
    kept_places = _quantile(tf.boolean_mask(places, is_tied), 1 - share_of_tied)
    return is_candidate & ((scores > threshold) | (is_tied & (places > kept_places)))


def cut_samples(
    scores: tf.RaggedTensor, is_candidate: tf.RaggedTensor, example_id: tf.Tensor, keep: float
) -> tf.Tensor:
    """Keeps the top share of the candidates of each example.

    An example of n candidates keeps `keep * n` of them, rounded down or up. By how the fractions and a hash fall, so many
    examples are rounded up that the share over the whole data set is `keep`; rounding to the nearest would be off by much
    where responses are short. Of tied tokens the first ones are kept.

    Args:
        scores: float32 (batch, n).
        is_candidate: bool (batch, n).
        example_id: string (batch,).
        keep: share in (0, 1].

    Returns:
        bool (tokens,): whether a token is kept.
    """
    mask = is_candidate.to_tensor(False)  # (batch, longest)
    wanted = keep * tf.reduce_sum(tf.cast(mask, tf.float64), axis=1)  # (batch,)
    # 0.6 * 5 is 3 but for its last bits.
    whole = tf.floor(wanted + 1e-9)
    fraction = tf.maximum(wanted - whole, 0)
    has_fraction = fraction > 1e-9
    ups = tft.sum(fraction) / tf.maximum(tf.cast(tft.sum(tf.cast(has_fraction, tf.int64)), tf.float64), 1)
    # A row whose fraction is larger is rounded up sooner.
    order = tf.cast(tf.cast(_hash_rows(example_id), tf.float64) / _MODULUS - fraction, tf.float32)
    bound = _quantile(tf.boolean_mask(order, has_fraction), ups)
    number = tf.cast(whole, tf.int32) + tf.cast(has_fraction & (order <= bound), tf.int32)
    dense = tf.where(mask, scores.to_tensor(0.0), -float("inf"))
    descending = tf.argsort(dense, axis=1, direction="DESCENDING", stable=True)
    rank = tf.argsort(descending, axis=1, stable=True)
    kept = mask & (rank < number[:, None])
    return tf.RaggedTensor.from_tensor(kept, lengths=scores.row_lengths()).flat_values


def _hash_rows(example_id: tf.Tensor) -> tf.Tensor:
    return tf.strings.to_hash_bucket_fast(example_id, _MODULUS)  # int64, the same on every platform


def _quantile(values: tf.Tensor, share: Any) -> tf.Tensor:
    """Returns the value below or at which `share` of all values lie; -inf for a share of 0, inf for a share of 1.

    Args:
        values: float32 (n,) of this batch; the quantile is that of all batches.
        share: a number or a scalar tensor in [0, 1].
    """
    boundaries = tf.reshape(tft.quantiles(values, _GRID, _SKETCH_ERROR), [-1])  # (_GRID - 1,)
    infinity = tf.constant([float("inf")])
    grid = tf.concat([-infinity, boundaries, infinity], axis=0)  # (_GRID + 1,)
    return grid[tf.cast(tf.round(tf.cast(share, tf.float64) * _GRID), tf.int32)]
