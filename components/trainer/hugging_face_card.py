"""What a Trainer knows for the card of its model: all but the data and what the evaluation will say."""

from collections.abc import Mapping
from typing import Any

from components.export.hugging_face.card import CardFacts, describe_training, describe_weights, name_preset


def make_facts(record: Mapping[str, Any], dtype: str, template: str) -> CardFacts:
    """Returns what is known when the model is written.

    Args:
        record: Of the training.
        dtype: The run's `model.dtype`.
        template: The run's `text.template`; empty if it is not known.
    """
    commit = {"commit": record["code_version"]} if record.get("code_version") else {}
    return CardFacts(
        name=f"{name_preset(record['preset'])}, tuned",
        base_model=record["preset"],
        method=record["method"],
        training=describe_training(record) | {"dtype": dtype, "hardware": record.get("hardware", "")},
        template=template,
        provenance=commit | describe_weights(record),
    )
