"""Saving a model as a preset, so that the same model is the same bytes in every process."""

import json
from pathlib import Path

import keras_hub

from components.models.publisher_files import write_publisher_files


def write_preset(model: keras_hub.models.CausalLM, folder: str) -> None:
    """Writes a model as a preset for `keras_hub.models.CausalLM.from_preset`, with the files of its publisher.

    Args:
        model: The model, with its preprocessor.
        folder: Local; absent or empty.
    """
    model.save_to_preset(folder)
    path = Path(folder) / "metadata.json"
    # The time of saving would give the same model another hash each time.
    metadata = json.loads(path.read_text(encoding="utf-8"))
    metadata.pop("date_saved", None)
    path.write_text(json.dumps(metadata, indent=4), encoding="utf-8")
    write_publisher_files(model, folder)
