"""Splits of Examples artifacts: their names, and what several components do with them."""

import json
import os
from typing import Any

from apache_beam.io import filesystems
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.types.artifact import Artifact

TRAIN = "train"
EVAL = "eval"


def copy_split(source: Artifact, split: str, target: Artifact) -> None:
    """Copies the files of a split from one Examples artifact to another."""
    folder, destination = (artifact_utils.get_split_uri([artifact], split) for artifact in (source, target))
    fileio.makedirs(destination)
    for name in fileio.listdir(folder):
        fileio.copy(os.path.join(folder, name), os.path.join(destination, name))


def read_json(path: str) -> Any:
    """Returns what a JSON file holds that a Beam pipeline has written."""
    with filesystems.FileSystems.open(path) as file:
        return json.loads(file.read())


def write_json(path: str, value: Any) -> None:
    """Writes a JSON file beside the splits of an artifact."""
    with filesystems.FileSystems.create(path) as file:
        file.write(json.dumps(value, indent=1).encode())
