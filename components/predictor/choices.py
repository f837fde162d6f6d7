"""Choices of answers, and the losses that a model gives them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from components.errors import UserError
from components.text import features
from components.text.cleaning import clean_text, get_level


def add_choices(predictions: Sequence[tf.train.Example], choices: Mapping[str, Any]) -> None:
    """Adds CHOICES and CHOICE_ANSWERS to predictions.

    Args:
        predictions: Changed.
        choices: `texts`, or the `column` that holds a list of them as JSON; and `cleaning`, the level that the references had.

    Raises:
        UserError: The column of an example holds no such list.
    """
    for prediction in predictions:
        values = prediction.features.feature
        # As the reference is.
        level = get_level(choices)
        texts = [clean_text(text, level) for text in choices["texts"] or _parse(prediction, choices["column"])]
        wanted = values[features.RESPONSE].bytes_list.value[0].decode().strip()
        values[features.CHOICES].bytes_list.value[:] = [text.encode() for text in texts]
        values[features.CHOICE_ANSWERS].int64_list.value[:] = [
            place for place, text in enumerate(texts) if text.strip() == wanted
        ]


def score_choices(
    predictions: Sequence[tf.train.Example], score_text: Any, end_token: bool, delimiter: str = ""
) -> None:
    """Adds CHOICE_NLL to predictions.

    Args:
        predictions: With PROMPT and CHOICES. Changed.
        score_text: The model's signature of that name.
        end_token: Whether the text must end behind the choice.
        delimiter: Between prompt and choice.
    """
    choices = [list(prediction.features.feature[features.CHOICES].bytes_list.value) for prediction in predictions]
    prompts = [prediction.features.feature[features.PROMPT].bytes_list.value[0] for prediction in predictions]
    losses = score_text(
        prompt=tf.constant([prompt for prompt, texts in zip(prompts, choices, strict=True) for _ in texts], tf.string),
        continuation=tf.constant([delimiter.encode() + text for texts in choices for text in texts], tf.string),
        end=tf.constant(end_token),
    )[features.NLL_SUM].numpy()
    begin = 0
    for prediction, texts in zip(predictions, choices, strict=True):
        prediction.features.feature[features.CHOICE_NLL].float_list.value[:] = losses[begin : begin + len(texts)]
        begin += len(texts)


def _parse(prediction: tf.train.Example, column: str) -> list[str]:
    values = prediction.features.feature
    text = next(iter(values[column].bytes_list.value), b"").decode()
    try:
        texts = json.loads(text)
    except ValueError:
        texts = None
    if not (isinstance(texts, list) and len(texts) > 1 and all(isinstance(item, str) and item for item in texts)):
        example_id = values[features.EXAMPLE_ID].bytes_list.value[0].decode()
        raise UserError(
            f"the column `{column}`, which the metric multiple_choice names, must hold a list of at least two texts. "
            f"Received: {text[:200]!r} in example {example_id}. Mend the data, or give `choices` instead."
        )
    return texts
