"""The numeric cores of scoring, in Keras' operations alone, and of generation, for TensorFlow."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import keras_hub
import tensorflow as tf
from keras import ops

from components.trainer import kv_cache
from components.trainer.block_functions import BlockFunctions, Blocks
from components.trainer.model_card import fit_prompt
from components.trainer.samplers import GREEDY, Beam, Sampler
from components.trainer.sampling import Chooser, make_chooser, make_keras_hub_sampler
from components.trainer.served_template import ServedTemplate

# Positions by which the cache grows.
_CACHE_PIECE = 32


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
    model: keras_hub.models.CausalLM,
    token_ids: tf.Tensor,
    lengths: tf.Tensor,
    max_new_tokens: tf.Tensor | int,
    stop_ids: Sequence[int],
    sampler: Sampler = GREEDY,
    seed: tf.Tensor | int = 0,
    blocks: Blocks | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns continuations of prompts of different lengths, each as if it were alone.

    Args:
        model: The model.
        token_ids: int32 (batch, length), prompts padded on the right.
        lengths: int32 (batch,), tokens of each prompt, 1 or more.
        max_new_tokens: Most tokens that are added.
        stop_ids: The ids that end a completion; they and what follows them are not part of it.
        sampler: How a token is chosen.
        seed: Of the draws, which depend on it and on the prompt alone: not on the other prompts.
        blocks: The model's, if they are sorted already.

    Returns:
        Completions, int32 (batch, max_new_tokens), and how many tokens of each count, int32 (batch,).
    """
    # KerasHub looks for stop tokens wherever the prompt is not: padding must be none of them.
    padding = next(i for i in range(len(stop_ids) + 1) if i not in stop_ids)
    token_ids = tf.where(tf.range(tf.shape(token_ids)[1])[None] < lengths[:, None], token_ids, padding)
    blocks = blocks or Blocks(model)
    if isinstance(sampler, Beam) or not kv_cache.is_supported(model):
        with BlockFunctions(blocks).installed():
            full = _generate_by_keras_hub(model, token_ids, lengths, max_new_tokens, padding, stop_ids, sampler)
    else:
        choose = make_chooser(sampler, seed)
        full = _generate(model, token_ids, lengths, max_new_tokens, padding, stop_ids, choose, blocks)
    new = tf.gather(full, lengths[:, None] + tf.range(max_new_tokens)[None], axis=1, batch_dims=1)
    going = tf.cumsum(tf.cast(_is_stop(new, stop_ids), tf.int32), axis=1) == 0
    return new, tf.reduce_sum(tf.cast(going, tf.int32), axis=1)


def _generate(
    model: keras_hub.models.CausalLM,
    token_ids: tf.Tensor,
    lengths: tf.Tensor,
    max_new_tokens: tf.Tensor | int,
    padding: int,
    stop_ids: Sequence[int],
    choose: Chooser,
    blocks: Blocks,
) -> tf.Tensor:
    """Returns prompts with their continuations, int32 (batch, length + max_new_tokens).

    All sequences are at the same position at any time, from the end of the shortest prompt on; a longer prompt goes on with
    its own tokens first. The cache grows by pieces, since attention reads all of it, filled or not.
    """
    length = tf.shape(token_ids)[1]
    total = length + max_new_tokens
    draws = choose.draw(token_ids, lengths, max_new_tokens)
    step = kv_cache.Step(model, blocks)
    cache = kv_cache.fill(model, token_ids, blocks)
    token_ids = tf.pad(token_ids, [[0, 0], [0, max_new_tokens]], constant_values=padding)
    shapes = [tf.TensorShape([None, x.shape[1], None, x.shape[3]]) for x in cache]

    def is_going(index: tf.Tensor, end: tf.Tensor, done: tf.Tensor) -> tf.Tensor:
        return (index < end) & ~tf.reduce_all(done)

    def add_token(
        stand_in: tf.Tensor, index: tf.Tensor, token_ids: tf.Tensor, done: tf.Tensor, *cache: tf.Tensor
    ) -> tuple[Any, ...]:
        previous = tf.ensure_shape(token_ids[:, index - 1 : index], [None, 1])
        logits, updated = step(previous, index - 1, cache, stand_in)
        place = index - lengths  # (batch,), negative inside a prompt
        is_new = place >= 0
        chosen = choose(tf.cast(logits, tf.float32), draws, place)
        token = tf.where(is_new & ~done, chosen, token_ids[:, index])
        token_ids = tf.where(tf.range(total)[None] == index, token[:, None], token_ids)
        done |= is_new & (_is_stop(token, stop_ids) | (place >= max_new_tokens - 1))
        return index + 1, tf.ensure_shape(token_ids, [None, None]), done, *updated

    def add_piece(index: tf.Tensor, token_ids: tf.Tensor, done: tf.Tensor, *cache: tf.Tensor) -> tuple[Any, ...]:
        room = tf.minimum(_CACHE_PIECE, total - tf.shape(cache[0])[2])
        grown = [
            tf.ensure_shape(tf.pad(x, [[0, 0], [0, 0], [0, room], [0, 0]]), shape)
            for x, shape in zip(cache, shapes, strict=True)
        ]
        # One position more than the cache has can be written: the last token's keys are not needed.
        end = tf.minimum(tf.shape(grown[0])[2] + 1, total)
        return tf.while_loop(
            lambda index, _, done, *cache: is_going(index, end, done),
            functools.partial(add_token, step.make_stand_in(grown)),
            (index, token_ids, done, *grown),
            shape_invariants=invariants,
            parallel_iterations=1,
        )

    invariants = (tf.TensorShape([]), tf.TensorShape([None, None]), tf.TensorShape([None]), *shapes)
    _, token_ids, *_ = tf.while_loop(
        lambda index, _, done, *cache: is_going(index, total, done),
        add_piece,
        (tf.reduce_min(lengths), token_ids, tf.zeros_like(lengths, tf.bool), *cache),
        shape_invariants=invariants,
        parallel_iterations=1,
    )
    return token_ids


def _generate_by_keras_hub(
    model: keras_hub.models.CausalLM,
    token_ids: tf.Tensor,
    lengths: tf.Tensor,
    max_new_tokens: tf.Tensor | int,
    padding: int,
    stop_ids: Sequence[int],
    sampler: Sampler,
) -> tf.Tensor:
    """Returns prompts with their continuations, int32 (batch, length + max_new_tokens)."""
    token_ids = tf.pad(token_ids, [[0, 0], [0, max_new_tokens]], constant_values=padding)
    prompt = tf.range(tf.shape(token_ids)[1])[None] < lengths[:, None]
    before, model.sampler = getattr(model, "sampler", None), make_keras_hub_sampler(sampler)
    try:
        return model.generate_step({"token_ids": token_ids, "padding_mask": prompt}, stop_token_ids=list(stop_ids))[
            "token_ids"
        ]
    finally:
        model.sampler = before


def _is_stop(token_ids: tf.Tensor, stop_ids: Sequence[int]) -> tf.Tensor:
    return tf.reduce_any(token_ids[..., None] == tf.constant(list(stop_ids), tf.int32), axis=-1)


def stop_token_ids(tokenizer: Any) -> list[int]:
    """Returns the ids that end a completion. Some models have two (Llama 3)."""
    ids = [tokenizer.end_token_id, getattr(tokenizer, "end_token2_id", None)]
    return [int(i) for i in ids if i is not None]


def count_head(
    model: keras_hub.models.CausalLM, text: Mapping[str, Any], generation: Mapping[str, Any], template: ServedTemplate
) -> int:
    """Returns how many tokens stay at the beginning of a prompt that is too long: a start token, or as in training the chat template's own."""
    if not (template.is_chat and template.around):
        return len(template.start_ids)
    num_before = len(model.preprocessor.tokenizer(template.around.before))
    return min(num_before, text["max_length"] // 4, max_prompt_length(model, text, generation) // 2)


def max_prompt_length(model: keras_hub.models.CausalLM, text: Mapping[str, Any], generation: Mapping[str, Any]) -> int:
    """Returns `fit_prompt` of a model.

    Raises:
        UserError: If the lengths do not fit together, or the model.
    """
    return fit_prompt(getattr(model.backbone, "max_sequence_length", None), text, generation)
