"""The model card: what one must know of a model to ask it, and to see whether another can be held against it."""

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras_hub

from components import storage
from components.errors import UserError
from components.text.cleaning import get_level
from components.trainer.served_template import ServedTemplate

# In a SavedModel's folder.
ASSETS = "assets.extra"
MODEL_CARD = f"{ASSETS}/model_card.json"
SERVING_FOLDER = "Format-Serving"
# In the artifact of an untouched preset, which has no SavedModel.
PRESET_REFERENCE = "preset_reference.json"
# Positions of a model that does not say how many it has.
_POSITIONS = 4096


def make_card(
    tokenizer: keras_hub.tokenizers.Tokenizer,
    max_positions: int | None,
    text: Mapping[str, Any],
    generation: Mapping[str, Any],
    preset: str,
    template: ServedTemplate,
) -> dict[str, Any]:
    """Returns the card of a model.

    Args:
        tokenizer: The model's.
        max_positions: Tokens that the model has positions for; None where it does not say.
        text: The run's `text` section.
        generation: The run's `generation` section.
        preset: The preset that the model comes from.
        template: The run's, for this model.

    Raises:
        UserError: If the lengths do not fit together.
    """
    return {
        "template": template.name,
        "system": text["system"],
        "cleaning": get_level(text),
        "max_length": text["max_length"],
        "max_prompt_length": fit_prompt(max_positions, text, generation),
        "generation": dict(generation),
        "max_positions": max_positions,
        "preset": preset,
        "tokenizer_sha256": hash_tokenizer(tokenizer),
        **template.describe(),
    }


def fit_prompt(max_positions: int | None, text: Mapping[str, Any], generation: Mapping[str, Any]) -> int:
    """Returns how many tokens of a prompt are kept so that prompt and completion fit into `text.max_length`.

    Args:
        max_positions: See `make_card`.
        text: The run's `text` section.
        generation: The run's `generation` section.

    Raises:
        UserError: If no token would be kept, or the model has fewer positions than `text.max_length`.
    """
    max_length, new = text["max_length"], generation["max_new_tokens"]
    if max_positions is not None and max_length > max_positions:
        raise UserError(
            f"text.max_length must be at most the {max_positions} positions of the model. Received: {max_length}. Lower it."
        )
    if new > max_length - 2:
        raise UserError(
            "generation.max_new_tokens must leave at least 2 tokens of text.max_length for the prompt. "
            f"Received: max_new_tokens {new}, max_length {max_length}. Lower the one or raise the other."
        )
    return max_length - new


def count_positions(max_positions: int | None) -> int:
    """Returns how many tokens a text may have that is to use all of a model's positions."""
    return max_positions or _POSITIONS


def write_card(card: Mapping[str, Any], saved_model: str) -> None:
    """Writes the card of a SavedModel, which is in a local folder."""
    path = Path(saved_model) / MODEL_CARD
    path.parent.mkdir()
    path.write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def write_reference(model_uri: str, model: Mapping[str, Any], text: Mapping[str, Any], card: Mapping[str, Any]) -> None:
    """Writes what an artifact holds that names a preset instead of a SavedModel.

    Args:
        model_uri: The Model artifact's.
        model: The run's `model` section.
        text: The run's `text` section, with its `max_length`.
        card: See `make_card`.
    """
    content = {"model": dict(model), "text": dict(text), "card": dict(card)}
    storage.write_text(os.path.join(model_uri, PRESET_REFERENCE), json.dumps(content, indent=1, sort_keys=True) + "\n")


def read_reference(model_uri: str) -> dict[str, Any] | None:
    """Returns what `write_reference` wrote; None for a model that is exported."""
    path = os.path.join(model_uri, PRESET_REFERENCE)
    return json.loads(storage.read_text(path)) if storage.exists(path) else None


def find_saved_model(model_uri: str) -> str:
    """Returns the folder of the SavedModel of a Model artifact, or of a pushed model, whose folder is the SavedModel itself."""
    is_pushed = storage.exists(os.path.join(model_uri, "saved_model.pb"))
    return model_uri if is_pushed else os.path.join(model_uri, SERVING_FOLDER)


def read_card(model_uri: str) -> dict[str, Any]:
    """Returns the card of a Model artifact or of a pushed model; empty where it has none."""
    if reference := read_reference(model_uri):
        return reference["card"]
    path = os.path.join(find_saved_model(model_uri), MODEL_CARD)
    return json.loads(storage.read_text(path)) if storage.exists(path) else {}


def hash_tokenizer(tokenizer: keras_hub.tokenizers.Tokenizer) -> str:
    """Returns the SHA-256 of the tokenizer's assets: equal hashes, equal token ids."""
    digest = hashlib.sha256()
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_assets(folder)
        for path in sorted(Path(folder).iterdir()):
            digest.update(f"{path.name}\0".encode() + path.read_bytes())
    return digest.hexdigest()
