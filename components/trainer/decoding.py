"""The numeric cores of scoring and of greedy decoding, in Keras' operations alone: they run on every backend."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras_hub
from keras import ops

from components.errors import UserError


def score_tokens(model: keras_hub.models.CausalLM, token_ids: Any, target_mask: Any) -> dict[str, Any]:
    """Returns sums over the target tokens of each example. Position `t` predicts token `t + 1`. Works on every backend.

    Args:
        model: The model.
        token_ids: int32 (batch, length), length 2 or more, padded on the right with any id in the vocabulary.
        target_mask: int (batch, length), 1 on the tokens that count, 0 on prompt and padding.

    Returns:
        `nll_sum` (nats), `token_count`, `correct_count`: float32 (batch,).
    """
    inputs, targets = token_ids[:, :-1], token_ids[:, 1:]
    weights = ops.cast(target_mask[:, 1:], "float32")  # (batch, length - 1)
    logits = model({"token_ids": inputs, "padding_mask": ops.ones_like(inputs)}, training=False)
    logits = ops.cast(logits, "float32")  # (batch, length - 1, vocabulary)
    target_logits = ops.squeeze(ops.take_along_axis(logits, targets[..., None], axis=-1), -1)
    nll = ops.logsumexp(logits, axis=-1) - target_logits
    correct = ops.cast(ops.equal(ops.cast(ops.argmax(logits, axis=-1), "int32"), targets), "float32")
    return {
        "nll_sum": ops.sum(nll * weights, axis=1),
        "token_count": ops.sum(weights, axis=1),
        "correct_count": ops.sum(correct * weights, axis=1),
    }


def generate_tokens(
    model: keras_hub.models.CausalLM, token_ids: Any, lengths: Any, max_new_tokens: int, stop_ids: Sequence[int]
) -> tuple[Any, Any]:
    """Returns greedy continuations of prompts of different lengths, each as if it were alone. Works on every backend.

    Args:
        model: The model.
        token_ids: int32 (batch, length), prompts padded on the right.
        lengths: int32 (batch,), tokens of each prompt, 1 or more.
        max_new_tokens: Most tokens that are added.
        stop_ids: The ids that end a completion; they and what follows them are not part of it.

    Returns:
        Completions, int32 (batch, max_new_tokens), and how many tokens of each count, int32 (batch,).
    """
    # KerasHub looks for stop tokens wherever the prompt is not: padding must be none of them.
    padding = next(i for i in range(len(stop_ids) + 1) if i not in stop_ids)
    room = ops.full((ops.shape(token_ids)[0], max_new_tokens), padding, dtype="int32")
    token_ids = ops.concatenate([token_ids, room], axis=1)
    places = ops.arange(ops.shape(token_ids)[1], dtype="int32")[None]
    prompt = places < lengths[:, None]  # (batch, length + max_new_tokens)
    token_ids = ops.where(prompt, token_ids, padding)
    sampler, model.sampler = getattr(model, "sampler", None), keras_hub.samplers.GreedySampler()
    try:
        output = model.generate_step({"token_ids": token_ids, "padding_mask": prompt}, stop_token_ids=list(stop_ids))
    finally:
        model.sampler = sampler
    new = ops.take_along_axis(output["token_ids"], lengths[:, None] + places[:, :max_new_tokens], axis=1)
    stopped = ops.zeros_like(new, dtype="bool")
    for stop_id in stop_ids:
        stopped = ops.logical_or(stopped, ops.equal(new, stop_id))
    going = ops.equal(ops.cumsum(ops.cast(stopped, "int32"), axis=1), 0)
    return new, ops.sum(ops.cast(going, "int32"), axis=1)


def stop_token_ids(tokenizer: Any) -> list[int]:
    """Returns the ids that end a completion. Some models have two (Llama 3)."""
    ids = [tokenizer.end_token_id, getattr(tokenizer, "end_token2_id", None)]
    return [int(i) for i in ids if i is not None]


def max_prompt_length(model: keras_hub.models.CausalLM, text: Mapping[str, Any], generation: Mapping[str, Any]) -> int:
    """Returns how many tokens of a prompt are kept so that prompt and completion fit into `text.max_length`.

    Raises:
        UserError: If no token would be kept, or the model has fewer positions than `text.max_length`.
    """
    max_length, new = text["max_length"], generation["max_new_tokens"]
    positions = getattr(model.backbone, "max_sequence_length", None)
    if positions is not None and max_length > positions:
        raise UserError(
            f"text.max_length must be at most the {positions} positions of the model. Received: {max_length}. Lower it."
        )
    if new > max_length - 2:
        raise UserError(
            "generation.max_new_tokens must leave at least 2 tokens of text.max_length for the prompt. "
            f"Received: max_new_tokens {new}, max_length {max_length}. Lower the one or raise the other."
        )
    return max_length - new
