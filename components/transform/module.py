"""The function that TFX's Transform calls: tokenized examples in, model-ready examples out."""

from typing import Any

import tensorflow as tf

from components.text import features


def preprocessing_fn(inputs: dict[str, Any]) -> dict[str, Any]:
    """Gives every token its weight as a training target.

    Args:
        inputs: `token_ids` and `target_mask`, ragged int64 of shape (batch, n).

    Returns:
        `token_ids` (batch, n) int64 as received, and `loss_weight` (batch, n) float32: 1 on the response and its end
        token, 0 on the prompt. A full-pass analysis that lowers weights (token cleaning) belongs here, so that it is part
        of the recorded transform graph.
    """
    loss_weight = tf.cast(inputs[features.TARGET_MASK], tf.float32)
    # Transform writes a sparse tensor under the feature's own name, a ragged one under `<name>$ragged_values`. Zeros are
    # explicit values here, so that none is lost.
    return {
        features.TOKEN_IDS: inputs[features.TOKEN_IDS].to_sparse(),
        features.LOSS_WEIGHT: loss_weight.to_sparse(),
    }
