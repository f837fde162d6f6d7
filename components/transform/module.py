"""The function that TFX's Transform calls: tokenized (and scored) examples in, model-ready examples out."""

from typing import Any

import tensorflow as tf

from components.text import features
from components.transform.cut import cut_dataset, cut_samples, hash_places


def preprocessing_fn(inputs: dict[str, Any], custom_config: dict[str, Any]) -> dict[str, Any]:
    """Gives every token its weight as a training target.

    Args:
        inputs: `token_ids` and `target_mask`, ragged int64 of shape (batch, n). With token cleaning also `token_influence`,
            ragged float32, of shape (batch, n) or empty for an example that is not to be cleaned (the eval split).
            `example_id`, string (batch,). `tokens_cut` and `template_specials`, ragged int64, which may be empty.
        custom_config: `cleaning`: None, or the `keep` and `scope` of the run's `token_cleaning` section.

    Returns:
        `token_ids` (batch, n) int64 as received; `loss_weight` (batch, n) float32: 1 on the response and its end token, 0 on
        the prompt and on what token cleaning drops; and `example_id`, so that the Trainer can name an example. For the receipt
        `num_response_tokens` (batch,) int64, the targets before cleaning that a token stands before, and what the Tokenizer
        has counted: `tokens_cut`, `template_specials`.
    """
    token_ids, target_mask = inputs[features.TOKEN_IDS], inputs[features.TARGET_MASK]
    weight = tf.cast(target_mask.flat_values, tf.float32)
    if custom_config["cleaning"] is not None:
        weight *= tf.cast(find_kept_tokens(inputs, **custom_config["cleaning"]), tf.float32)
    # Transform writes a sparse tensor under the feature's own name, a ragged one under `<name>$ragged_values`. Zeros are
    # explicit values here, so that none is lost.
    return {
        features.TOKEN_IDS: token_ids.to_sparse(),
        features.LOSS_WEIGHT: target_mask.with_flat_values(weight).to_sparse(),
        features.EXAMPLE_ID: inputs[features.EXAMPLE_ID],
        features.NUM_RESPONSE_TOKENS: tf.reduce_sum(target_mask[:, 1:], axis=1),
        **{name: inputs[name].to_sparse() for name in (features.TOKENS_CUT, features.TEMPLATE_SPECIALS)},
    }


def find_kept_tokens(inputs: dict[str, Any], keep: float, scope: str) -> tf.Tensor:
    """Returns which tokens are not cleaned away, bool (tokens,) in the order of `token_ids.flat_values`.

    Candidates for the cut are the response tokens that have a score and a token before them that could predict them.
    """
    token_ids, example_id = inputs[features.TOKEN_IDS], tf.reshape(inputs[features.EXAMPLE_ID], [-1])
    influence = inputs[features.TOKEN_INFLUENCE]
    is_scored = tf.gather(influence.row_lengths() == token_ids.row_lengths(), token_ids.value_rowids())
    column = tf.ragged.range(token_ids.row_lengths()).flat_values
    is_candidate = is_scored & (column > 0) & (inputs[features.TARGET_MASK].flat_values > 0)
    # In the shape of `token_ids`: rows without scores get some.
    shape = [token_ids.nrows(), tf.reduce_max(tf.concat([token_ids.row_lengths(), [0]], axis=0))]
    scores = tf.RaggedTensor.from_tensor(influence.to_tensor(0.0, shape=shape), lengths=token_ids.row_lengths())
    if scope == "sample":
        kept = cut_samples(scores, token_ids.with_flat_values(is_candidate), example_id, keep)
    else:
        kept = cut_dataset(scores.flat_values, is_candidate, hash_places(example_id, token_ids).flat_values, keep)
    return kept | ~is_candidate
