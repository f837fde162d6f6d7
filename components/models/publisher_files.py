"""The files of a model's publisher, kept from loading a model to saving it."""

import weakref
from pathlib import Path

import keras

from components.presets.side_files import SIDE_FILES, SIDE_FOLDER, find_side_file

# Their content and not their place: a copy from a bucket is gone by then, and nothing may fail for a missing file after a training.
# Keras and TensorFlow track what is set on a model, and would save it; hence beside it.
_FILES: weakref.WeakKeyDictionary[keras.Model, dict[str, bytes]] = weakref.WeakKeyDictionary()


def remember_publisher_files(model: keras.Model, preset_folder: str | Path) -> None:
    """Reads the publisher's files of the folder that `model` was loaded from; some MB, of which the tokenizer is most."""
    found = {name: find_side_file(preset_folder, name) for name in SIDE_FILES}
    _FILES[model] = {name: path.read_bytes() for name, path in found.items() if path is not None}


def copy_publisher_files(model: keras.Model, other: keras.Model) -> None:
    """Makes `other`, a model of other sizes, have the publisher's files of `model`, but for the `config.json` that states these."""
    _FILES[other] = {name: content for name, content in _FILES.get(model, {}).items() if name != "config.json"}


def write_publisher_files(model: keras.Model, preset_folder: str | Path) -> None:
    """Writes them where `find_side_file` finds them in a KerasHub preset; nothing, if `model` has none."""
    for name, content in _FILES.get(model, {}).items():
        path = Path(preset_folder) / SIDE_FOLDER / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
