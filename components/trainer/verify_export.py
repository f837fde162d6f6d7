"""Proof, before a model leaves the Trainer, that what was written computes what was trained."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import keras_hub
import ml_dtypes
import numpy as np
import tensorflow as tf
from keras import ops

from components.text import features
from components.text.cleaning import clean_text, get_level
from components.text.record_cleaning import neutralize
from components.text.request_form import render_request
from components.trainer.decoding import count_head, max_prompt_length
from components.trainer.served_template import ServedTemplate, find_served_template

# Largest difference of a token's loss (nats) and of logits that the order of summation explains: for float32, and for the
# lower precisions.
_TOLERANCE = {"float32": 1e-3}
_LOW_PRECISION_TOLERANCE = 5e-2
# In the lower precisions the difference of two logits also grows with them: so many units in the last place. On SmolLM2 in
# mixed_bfloat16, 12 completions of 32 tokens came to 0.7 at most.
_LOGIT_UNITS = 2


class ExportMismatchError(Exception):
    """The SavedModel does not compute what the live model computes. A defect, not something that a user can mend."""


def verify_export(
    directory: str,
    model: keras_hub.models.CausalLM,
    example_records: Sequence[bytes],
    prompts: Sequence[str],
    text: Mapping[str, Any],
    generation: Mapping[str, Any],
) -> None:
    """Compares a SavedModel with the live model: losses of examples, and completions of prompts.

    The live side shares no tokenization, padding or decoding loop with the export: it tokenizes in eager Python and takes
    one example at a time, without a cache. One pass over prompt and completion says whether the model would choose each of
    the completion's tokens, or one that is as good within rounding. Loading happens in this process; that a process without
    Keras can load it is for the tests.

    Args:
        directory: The SavedModel.
        model: The model that was exported.
        example_records: Serialized tokenized examples; some tens are enough.
        prompts: Rendered prompts; each costs an eager pass.
        text: The run's `text` section.
        generation: The run's `generation` section.

    Raises:
        ExportMismatchError: If a loss or a completion differs by more than rounding explains.
    """
    loaded = tf.saved_model.load(directory)
    signatures = loaded.signatures
    template = find_served_template(model, text)
    _verify_tokens(loaded, model.preprocessor.tokenizer, [*_list_texts(example_records), *prompts])
    tolerance = _TOLERANCE.get(str(model.compute_dtype), _LOW_PRECISION_TOLERANCE)
    if example_records:
        _verify_scores(signatures["score"], model, example_records, tolerance)
    if prompts:
        _verify_completions(loaded, model, prompts, text, generation, template)
    if template.around:
        _verify_template(signatures, text, template)
    else:
        logging.warning(
            "The model has no signature serving_default: its chat template cannot be one, as %s.", template.problem
        )
    logging.info("Verified %s: %d examples, %d prompts.", directory, len(example_records), len(prompts))


def _list_texts(example_records: Sequence[bytes]) -> list[str]:
    found = []
    for record in example_records:
        example = tf.train.Example.FromString(record).features.feature
        found += [
            text.decode() for name in (features.PROMPT, features.RESPONSE) for text in example[name].bytes_list.value
        ]
    return found


def _verify_tokens(loaded: Any, tokenizer: Any, texts: Sequence[str]) -> None:
    """The tokens of a text must be those that the training saw."""
    if not texts:
        return
    for text, exported in zip(texts, loaded.tokenize(tf.constant(texts)).to_list(), strict=True):
        live = [int(token_id) for token_id in tokenizer(text)]
        if exported != live:
            place = next((i for i, pair in enumerate(zip(exported, live, strict=False)) if pair[0] != pair[1]), None)
            place = min(len(exported), len(live)) if place is None else place
            raise ExportMismatchError(
                f"{text!r} has {len(exported)} tokens exported and {len(live)} live, which differ from number {place} on: "
                f"{exported[place : place + 5]} and {live[place : place + 5]}"
            )


def _verify_template(signatures: Any, text: Mapping[str, Any], template: ServedTemplate) -> None:
    """A plain request must be answered as its prompt, cleaned and rendered in Python, is."""
    special = template.special_tokens
    requests = ["  Name\u00a0a\u200b  colour.\r\n\n\n\nNow. ", f"a {special[0]} b" if special else "b"]
    level = get_level(text)
    system = clean_text(text["system"], level)
    prompts = [
        render_request(template.template, neutralize(clean_text(request, level), special)[0], system, special)
        for request in requests
    ]
    served = signatures["serving_default"](prompt=tf.constant(requests))["completion"].numpy()
    completed = signatures["complete"](prompt=tf.constant(prompts))["completion"].numpy()
    for request, answer, expected in zip(requests, served, completed, strict=True):
        if answer != expected:
            raise ExportMismatchError(f"{request!r} is answered with {answer!r}, its rendered prompt with {expected!r}")


def _verify_scores(signature: Any, model: Any, records: Sequence[bytes], tolerance: float) -> None:
    exported = {name: value.numpy() for name, value in signature(examples=tf.constant(list(records))).items()}
    for i, record in enumerate(records):
        example = tf.train.Example.FromString(record).features.feature
        ids, mask = (list(example[name].int64_list.value) for name in (features.TOKEN_IDS, features.TARGET_MASK))
        if len(ids) < 2:
            ids, mask = [0, 0], [0, 0]
        logits = _logits(model, np.array([ids], np.int32))[:-1]  # (length - 1, vocabulary)
        peak = logits.max(axis=-1, keepdims=True)
        log_probs = logits - peak - np.log(np.exp(logits - peak).sum(axis=-1, keepdims=True))
        weights = np.array(mask[1:], np.float32)
        nll = -float((log_probs[np.arange(len(ids) - 1), ids[1:]] * weights).sum())
        count = float(weights.sum())
        difference = abs(float(exported["nll_sum"][i]) - nll) / max(count, 1.0)
        if exported["token_count"][i] != count or not difference <= tolerance * max(1.0, nll / max(count, 1.0)):
            raise ExportMismatchError(
                f"example {i} of the sample scores nll_sum {exported['nll_sum'][i]:.6g} over "
                f"{exported['token_count'][i]:g} tokens exported and {nll:.6g} over {count:g} tokens live: "
                f"{difference:.3g} a token apart (tolerance {tolerance:.3g})"
            )


def _verify_completions(
    loaded: Any,
    model: Any,
    prompts: Sequence[str],
    text: Mapping[str, Any],
    generation: Mapping[str, Any],
    template: ServedTemplate,
) -> None:
    """The live model must choose each token of an exported completion, or another one that is as good within rounding."""
    tokenizer = model.preprocessor.tokenizer
    is_greedy = generation.get("sampler", {"name": "greedy"})["name"] == "greedy"
    if not is_greedy:
        logging.info("The choices of a sampler that is not greedy are not compared: a tie turns all that follows.")
    texts, tokens = loaded.complete_with_tokens(tf.constant(list(prompts)))
    for prompt, exported, new in zip(prompts, texts.numpy(), tokens.to_list(), strict=True):
        live = tokenizer.detokenize(new) if new else ""
        ends = [place for stop in generation.get("stop", []) if (place := live.find(stop)) >= 0]
        if _comparable(exported.decode()) != _comparable(live[: min(ends, default=len(live))]):
            raise ExportMismatchError(
                f"the completion of {prompt!r} is {exported.decode()!r} exported, and its tokens {new} are {live!r} live"
            )
        if is_greedy:
            ids = _encode(model, prompt, text, generation, template)
            _verify_choices(model, prompt, ids, new, generation["max_new_tokens"], template.stop_ids)


def _verify_choices(
    model: Any, prompt: str, ids: list[int], new: list[int], max_new_tokens: int, stop_ids: list[int]
) -> None:
    """One pass over prompt and completion tells what the live model would choose at each place."""
    logits = _logits(model, np.array([ids + new], np.int32))[len(ids) - 1 :]  # (tokens + 1, vocabulary)
    taken = [[token_id] for token_id in new]
    if len(new) < max_new_tokens:
        taken.append(stop_ids)
    best = logits[: len(taken)].max(axis=-1)
    chosen = np.array([row[token_ids].max() for row, token_ids in zip(logits, taken, strict=False)])
    explained = _explain_by_rounding(model, best)
    for place in np.flatnonzero(best - chosen > explained):
        tokenizer = model.preprocessor.tokenizer
        other = int(logits[place].argmax())
        raise ExportMismatchError(
            f"the completion of {prompt!r} is {tokenizer.detokenize(new)!r} exported; at its token number {place} the live model "
            f"takes {tokenizer.detokenize([other])!r} (id {other}) rather than id {taken[place][0]}, whose logit is "
            f"{best[place] - chosen[place]:.3g} lower (rounding explains {explained[place]:.3g})"
        )


def _explain_by_rounding(model: Any, logits: np.ndarray) -> np.ndarray:
    """By how much two logits of this size may differ because sums were made in another order."""
    dtype = str(model.compute_dtype)
    if dtype in _TOLERANCE:
        return np.full_like(logits, _TOLERANCE[dtype])
    unit = float(ml_dtypes.finfo(dtype).eps)
    return np.maximum(_LOGIT_UNITS * unit * np.abs(logits), _LOW_PRECISION_TOLERANCE)


def _encode(
    model: Any, prompt: str, text: Mapping[str, Any], generation: Mapping[str, Any], template: ServedTemplate
) -> list[int]:
    """Returns the ids of a prompt as they are completed."""
    tokenizer = model.preprocessor.tokenizer
    head = template.start_ids
    ids = [int(i) for i in tokenizer(prompt)]
    if ids[: len(head)] != head:
        ids = head + ids
    num_head = count_head(model, text, generation, template)
    num_last = max_prompt_length(model, text, generation) - num_head
    return (ids[:num_head] + ids[num_head:][-num_last:]) or template.stop_ids[:1]


def _logits(model: Any, token_ids: np.ndarray) -> np.ndarray:
    """Returns the logits, float32 (length, vocabulary), of one example, int32 (1, length)."""
    inputs = {"token_ids": token_ids, "padding_mask": np.ones_like(token_ids)}
    return ops.convert_to_numpy(ops.cast(model(inputs, training=False), "float32"))[0]


def _comparable(completion: str) -> str:
    # Rust and ICU put different numbers of replacement characters for the bytes of a character that was cut in two.
    return completion.rstrip("\ufffd")
