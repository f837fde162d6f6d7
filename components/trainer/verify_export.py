"""Proof, before a model leaves the Trainer, that what was written computes what was trained."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import keras_hub
import numpy as np
import tensorflow as tf
from keras import ops

from components.text import features
from components.text.cleaning import clean_text
from components.text.templates import TEMPLATES
from components.text.tokenization import start_token_id
from components.trainer.decoding import max_prompt_length, stop_token_ids

# Largest difference of a token's loss (nats), and smallest lead of the best token over the second for which the order of
# summation cannot change the choice: for float32, and for the lower precisions.
_TOLERANCE = {"float32": 1e-3}
_LOW_PRECISION_TOLERANCE = 5e-2


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
    one example at a time. Loading happens in this process; that a process without Keras can load it is for the tests.

    Args:
        directory: The SavedModel.
        model: The model that was exported.
        example_records: Serialized tokenized examples; some tens are enough.
        prompts: Rendered prompts; each costs `max_new_tokens` eager steps.
        text: The run's `text` section.
        generation: The run's `generation` section.

    Raises:
        ExportMismatchError: If a loss or a completion differs by more than rounding explains.
    """
    loaded = tf.saved_model.load(directory)
    signatures = loaded.signatures
    _verify_tokens(loaded, model.preprocessor.tokenizer, [*_list_texts(example_records), *prompts])
    tolerance = _TOLERANCE.get(str(model.compute_dtype), _LOW_PRECISION_TOLERANCE)
    if example_records:
        _verify_scores(signatures["score"], model, example_records, tolerance)
    if prompts and generation.get("sampler", {"name": "greedy"})["name"] != "greedy":
        logging.info("Completions of a sampler that is not greedy are not compared: a tie turns all that follows.")
    elif prompts:
        completions = signatures["complete"](prompt=tf.constant(list(prompts)))["completion"].numpy()
        for prompt, exported in zip(prompts, completions, strict=True):
            live, margin = _complete(model, prompt, text, generation)
            ends = [place for stop in generation.get("stop", []) if (place := live.find(stop)) >= 0]
            live = live[: min(ends, default=len(live))]
            if _comparable(exported.decode()) == _comparable(live):
                continue
            if margin > tolerance:
                raise ExportMismatchError(
                    f"the completion of {prompt!r} is {exported.decode()!r} from {directory} and {live!r} from the live "
                    f"model, whose choices lead by at least {margin:.3g} (tolerance {tolerance:.3g})"
                )
            logging.warning("Two tokens tie (%.3g apart) in the completion of %r: not compared.", margin, prompt)
    _verify_template(signatures, text)
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


def _verify_template(signatures: Any, text: Mapping[str, Any]) -> None:
    """A plain request must be answered as its prompt, cleaned and rendered in Python, is."""
    request = " Name a\u00a0colour.\r\n"
    prompt = TEMPLATES[text["template"]].render(clean_text(request), system=clean_text(text["system"]))
    (served,) = signatures["serving_default"](prompt=tf.constant([request]))["completion"].numpy()
    (completed,) = signatures["complete"](prompt=tf.constant([prompt]))["completion"].numpy()
    if served != completed:
        raise ExportMismatchError(f"{request!r} is answered with {served!r}, its rendered prompt with {completed!r}")


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


def _complete(model: Any, prompt: str, text: Mapping[str, Any], generation: Mapping[str, Any]) -> tuple[str, float]:
    """Returns the live model's completion, and by how much its closest choice was made (in logits)."""
    tokenizer = model.preprocessor.tokenizer
    start = start_token_id(tokenizer)
    head = [] if start is None else [int(start)]
    keep = max_prompt_length(model, text, generation) - len(head)
    stop_ids = stop_token_ids(tokenizer)
    ids = (head + [int(i) for i in tokenizer(prompt)][-keep:]) or stop_ids[:1]
    filler = next(i for i in range(len(stop_ids) + 1) if i not in stop_ids)
    token_ids = np.array([ids + [filler] * generation["max_new_tokens"]], np.int32)
    mask = np.arange(token_ids.shape[1])[None] < len(ids)
    sampler, model.sampler = getattr(model, "sampler", None), keras_hub.samplers.GreedySampler()
    try:
        inputs = {"token_ids": ops.convert_to_tensor(token_ids), "padding_mask": ops.convert_to_tensor(mask)}
        output = model.generate_step(inputs, stop_token_ids=stop_ids)
    finally:
        model.sampler = sampler
    token_ids = ops.convert_to_numpy(output["token_ids"])
    new = token_ids[0, len(ids) :].tolist()
    end = next((i for i, token_id in enumerate(new) if token_id in stop_ids), len(new))
    logits = _logits(model, token_ids)  # (length, vocabulary)
    best = np.sort(logits[len(ids) - 1 : len(ids) + min(end, len(new) - 1)], axis=-1)[:, -2:]
    return tokenizer.detokenize(new[:end]) if end else "", float((best[:, 1] - best[:, 0]).min())


def _logits(model: Any, token_ids: np.ndarray) -> np.ndarray:
    """Returns the logits, float32 (length, vocabulary), of one example, int32 (1, length)."""
    inputs = {"token_ids": token_ids, "padding_mask": np.ones_like(token_ids)}
    return ops.convert_to_numpy(ops.cast(model(inputs, training=False), "float32"))[0]


def _comparable(completion: str) -> str:
    # Rust and ICU put different numbers of replacement characters for the bytes of a character that was cut in two.
    return completion.rstrip("\ufffd")
