"""Writing a trained model: as a SavedModel that runs without Keras, and as a KerasHub preset."""

import hashlib
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import keras_hub
import tensorflow as tf

from components.errors import UserError
from components.trainer.decoding import max_prompt_length
from components.trainer.directories import whole_directory
from components.trainer.signatures import ServingModule

MODEL_CARD = "assets.extra/model_card.json"


def export_model(
    model: keras_hub.models.CausalLM,
    directory: str,
    text: Mapping[str, Any],
    generation: Mapping[str, Any],
    preset: str = "",
) -> None:
    """Writes a SavedModel, whole or not at all, with the signatures of `ServingModule`.

    Whoever loads it needs `tensorflow` and, for its operations, `import tensorflow_text`; not Keras or KerasHub.
    A prompt that is longer than `max_length - max_new_tokens` tokens loses its beginning.

    Args:
        model: The model, with its preprocessor. It is not changed.
        directory: Where to; absent or empty.
        text: The run's `text` section.
        generation: The run's `generation` section.
        preset: The preset that the model comes from, for the model card.

    Raises:
        UserError: If the backend is not TensorFlow, or the lengths do not fit together.
        FileExistsError: If `directory` holds something.
    """
    _check_backend()
    module = ServingModule(model, text, generation)
    card = {
        "template": text["template"],
        "system": text["system"],
        "max_length": text["max_length"],
        "max_prompt_length": max_prompt_length(model, text, generation),
        "generation": dict(generation),
        "max_positions": getattr(model.backbone, "max_sequence_length", None),
        "preset": preset,
        "tokenizer_sha256": hash_tokenizer(model.preprocessor.tokenizer),
    }
    with whole_directory(directory, last="saved_model.pb") as local:
        tf.saved_model.save(module, local, signatures=module.signatures())
        path = Path(local) / MODEL_CARD
        path.parent.mkdir()
        path.write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def hash_tokenizer(tokenizer: keras_hub.tokenizers.Tokenizer) -> str:
    """Returns the SHA-256 of the tokenizer's assets: equal hashes, equal token ids."""
    digest = hashlib.sha256()
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_assets(folder)
        for path in sorted(Path(folder).iterdir()):
            digest.update(f"{path.name}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def _check_backend() -> None:
    if keras.backend.backend() != "tensorflow":
        raise UserError(
            f"a model is exported from Keras' TensorFlow backend. Received: {keras.backend.backend()}. "
            "Set KERAS_BACKEND=tensorflow where the Trainer runs."
        )
