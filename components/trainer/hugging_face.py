"""A tuned model as a folder for transformers, and the proof that it is one: loaded again, it computes the same."""

import gc
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras_hub
import numpy as np
from keras import ops

from components.export.formats import HUGGING_FACE
from components.export.hugging_face.write import CONFIG, Progress, check_model, write_hugging_face
from components.local_copies import local_preset
from components.presets.side_files import find_side_file
from components.text.chat_template import ChatTemplate
from components.text.model_tokenizer import list_end_token_ids
from components.trainer.directories import whole_directory
from components.trainer.model import load_model
from components.trainer.served_template import make_served_template

# Largest difference of a logit, by the precision of the coarser of the two, as a share of the largest logit.
_TOLERANCE = {"float32": 1e-4, "bfloat16": 5e-2, "float16": 1e-2}
# Tokens that are chosen after each prompt.
_NEW_TOKENS = 8


class HuggingFaceMismatchError(Exception):
    """The folder does not compute what the model computes. A defect, not something that a user can mend."""


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """What a model does with some texts.

    Attributes:
        prompts: The texts.
        token_ids: Of each text, and behind them those that the model chooses, each the likeliest.
        lengths: How many ids of each are the text's.
        logits: Of each, float32 (ids, vocabulary).
        policy: The model's dtype policy.
        dtype: In which it computes.
    """

    prompts: tuple[str, ...]
    token_ids: tuple[tuple[int, ...], ...]
    lengths: tuple[int, ...]
    logits: tuple[np.ndarray, ...]
    policy: str
    dtype: str


def check_hugging_face(model: keras_hub.models.CausalLM, preset: str) -> None:
    """Checks that a model can be written, which is known before it is trained.

    Args:
        model: The model.
        preset: The preset that it was loaded from.

    Raises:
        UserError: There is no writer for its family, transformers cannot compute what it computes, or the publisher's config
            contradicts it.
    """
    with local_preset(preset, with_weights=False) as source:
        check_model(model, lambda name: find_side_file(source, name))


def export_hugging_face(
    model: keras_hub.models.CausalLM,
    preset: str,
    directory: str,
    *,
    text: Mapping[str, Any] | None = None,
    dtype: str | None = None,
    card: str = "",
    progress: Progress | None = None,
) -> None:
    """Writes the folder, whole or not at all.

    Args:
        model: The model, with its preprocessor. It is not changed.
        preset: The preset that it was loaded from, whose publisher's files are copied.
        directory: Where to; absent or empty.
        text: The run's `text` section. A named chat template takes the place of the publisher's, because the model was tuned with it;
            and its end of a turn ends generation.
        dtype: Of the weights; None keeps the model's.
        card: Text of its `README.md`.
        progress: Is told how far it is.

    Raises:
        UserError: See `write_hugging_face`.
        FileExistsError: If `directory` holds something.
    """
    with local_preset(preset, with_weights=False) as source, whole_directory(directory, last=CONFIG) as local:
        tokenizer, chat_template = model.preprocessor.tokenizer, None
        end_token_ids = list_end_token_ids(tokenizer, source)
        if text is not None:
            served = make_served_template(tokenizer, text, source)
            end_token_ids = tuple(served.stop_ids)
            if isinstance(served.template, ChatTemplate) and served.template.name != "auto":
                chat_template = served.template.sources["default"]
        write_hugging_face(
            model,
            local,
            lambda name: find_side_file(source, name),
            end_token_ids=end_token_ids,
            chat_template=chat_template,
            dtype=dtype,
            card=card,
            progress=progress,
        )


def observe(model: keras_hub.models.CausalLM, prompts: Sequence[str], max_length: int) -> Behaviour:
    """Returns what a model does with texts.

    Args:
        model: The model, with its preprocessor.
        prompts: Some texts; each costs `_NEW_TOKENS` passes. Empty ones are left out.
        max_length: Of a text, in tokens; what is longer is cut.
    """
    tokenizer = model.preprocessor.tokenizer
    texts, sequences, lengths, logits = [], [], [], []
    for prompt in prompts:
        ids = [int(token_id) for token_id in tokenizer(prompt)][: max(1, max_length - _NEW_TOKENS)]
        if not ids:
            continue
        length = len(ids)
        for _ in range(_NEW_TOKENS):
            ids.append(int(_compute_logits(model, ids)[-1].argmax()))
        texts.append(prompt)
        sequences.append(tuple(ids))
        lengths.append(length)
        logits.append(_compute_logits(model, ids))
    return Behaviour(
        prompts=tuple(texts),
        token_ids=tuple(sequences),
        lengths=tuple(lengths),
        logits=tuple(logits),
        policy=model.dtype_policy.name,
        dtype=str(model.compute_dtype),
    )


def verify_hugging_face(directory: str, expected: Behaviour, dtype: str | None = None) -> None:
    """Loads the folder as any other preset and compares: ids of texts, logits, and the tokens that it chooses.

    Args:
        directory: The folder.
        expected: Of the model that was written; the model itself need not be in memory any more.
        dtype: In which the weights were written, if not in the model's.

    Raises:
        HuggingFaceMismatchError: If something differs by more than rounding explains.
    """
    gc.collect()
    model = load_model(directory, expected.policy)
    coarser = max((expected.dtype, dtype or "float32"), key=lambda name: _TOLERANCE.get(name, 0.0))
    tolerance = _TOLERANCE[coarser]
    tokenizer = model.preprocessor.tokenizer
    for prompt, ids, length, logits in zip(
        expected.prompts, expected.token_ids, expected.lengths, expected.logits, strict=True
    ):
        found_ids = [int(token_id) for token_id in tokenizer(prompt)][:length]
        if found_ids != list(ids[:length]):
            raise HuggingFaceMismatchError(
                f"the ids of {prompt!r} are {found_ids} from the tokenizer in {directory} and {list(ids[:length])} from the model's"
            )
        found = _compute_logits(model, list(ids))
        scale = max(1.0, float(np.abs(logits).max()))
        difference = float(np.abs(found - logits).max()) / scale
        if not difference <= tolerance:
            raise HuggingFaceMismatchError(
                f"logits of {prompt!r} differ by {difference:.3g} of the largest ({scale:.3g}) between {directory} and the model "
                f"(tolerance {tolerance:g})"
            )
        _compare_choices(found, logits, length, tolerance * scale, prompt, directory)
    logging.info("Verified %s: %d texts, as %s.", directory, len(expected.prompts), HUGGING_FACE)


def _compare_choices(
    found: np.ndarray, logits: np.ndarray, length: int, margin: float, prompt: str, directory: str
) -> None:
    """The likeliest token behind the text and behind each chosen one must be the same, but where two are as likely."""
    for place in range(length - 1, len(logits) - 1):
        theirs, ours = int(found[place].argmax()), int(logits[place].argmax())
        if theirs != ours and logits[place][ours] - logits[place][theirs] > margin:
            raise HuggingFaceMismatchError(
                f"after {prompt!r} and {place + 1 - length} tokens, {directory} chooses token {theirs} and the model {ours}"
            )


def _compute_logits(model: Any, ids: list[int]) -> np.ndarray:
    """Returns the logits, float32 (length, vocabulary), of one text."""
    token_ids = np.array([ids], np.int32)
    inputs = {"token_ids": token_ids, "padding_mask": np.ones_like(token_ids)}
    return ops.convert_to_numpy(ops.cast(model(inputs, training=False), "float32"))[0]
