"""Writing a trained model: as a SavedModel that runs without Keras."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import keras_hub
import tensorflow as tf

from components.errors import UserError
from components.models.publisher_files import write_publisher_files
from components.trainer.directories import whole_directory
from components.trainer.model_card import ASSETS, make_card, write_card
from components.trainer.signatures import ServingModule


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
    module = ServingModule(model, text, generation, stack=True)
    max_positions = getattr(model.backbone, "max_sequence_length", None)
    card = make_card(model.preprocessor.tokenizer, max_positions, text, generation, preset, module.template)
    with whole_directory(directory, last="saved_model.pb") as local:
        tf.saved_model.save(module, local, signatures=module.signatures())
        write_card(card, local)
        # For clients that render conversations, or tokenize: beside the card.
        assets = str(Path(local) / ASSETS)
        write_publisher_files(model, assets)
        module.template.write(assets)


def _check_backend() -> None:
    if keras.backend.backend() != "tensorflow":
        raise UserError(
            f"a model is exported from Keras' TensorFlow backend. Received: {keras.backend.backend()}. "
            "Set KERAS_BACKEND=tensorflow where the Trainer runs."
        )
