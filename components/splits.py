"""Splits of Examples artifacts: their names, and what several components do with them."""

import json
import os
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow as tf
from apache_beam.io import filesystems
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.types.artifact import Artifact

from components.datasets import without_autotuning
from components.text import features

TRAIN = "train"
EVAL = "eval"
# What is counted of a split, in `counts/<split>.json` of its artifact.
COUNTS = ("examples", "target_tokens")

_READ_BUFFER_BYTES = 2**18
_READ_BATCH = 64


class ReadSplit(beam.PTransform):
    """Reads the serialized examples of a split, file by file.

    Beam's own reader takes 16 MiB of a compressed file at a time and holds all that comes out of it: the memory of a small
    job would grow with its data until the files are that large.
    """

    def __init__(self, artifact: Artifact, split: str):
        super().__init__()
        self._pattern = os.path.join(artifact_utils.get_split_uri([artifact], split), "*")

    def expand(self, begin: Any) -> Any:
        """Returns serialized examples, bytes."""
        files = begin | beam.Create(sorted(fileio.glob(self._pattern)))
        # Of paths: other workers get files of their own.
        return files | beam.Reshuffle() | beam.FlatMap(read_records)


class SumTuples(beam.CombineFn):
    """Sums tuples of counts, place by place."""

    def __init__(self, num_counts: int):
        self._num_counts = num_counts

    def create_accumulator(self) -> tuple[int, ...]:
        """Returns zeros."""
        return (0,) * self._num_counts

    def add_input(self, mutable_accumulator: tuple[int, ...], element: tuple[int, ...]) -> tuple[int, ...]:
        """Returns the sums with one tuple more."""
        return tuple(a + b for a, b in zip(mutable_accumulator, element, strict=True))

    def merge_accumulators(self, accumulators: Iterable[tuple[int, ...]]) -> tuple[int, ...]:
        """Returns the sums of sums."""
        return tuple(sum(column) for column in zip(*accumulators, strict=True))

    def extract_output(self, accumulator: tuple[int, ...]) -> tuple[int, ...]:
        """Returns the sums."""
        return accumulator


class WriteCounts(beam.PTransform):
    """Tuples of counts -> `<path>.json` with their sums by name."""

    def __init__(self, names: Iterable[str], path: str):
        """Sets it up.

        Args:
            names: Of the places in the tuples.
            path: The file's, without `.json`.
        """
        super().__init__()
        self._names = tuple(names)
        self._path = path

    def expand(self, counts: Any) -> Any:
        """Writes the file, zeros if there are no tuples."""
        names = self._names
        return (
            counts
            | "Sum" >> beam.CombineGlobally(SumTuples(len(names)))
            | "Format" >> beam.Map(lambda sums: json.dumps(dict(zip(names, sums, strict=True))))
            | "Write" >> beam.io.WriteToText(self._path, shard_name_template="", file_name_suffix=".json")
        )


def read_records(path: str) -> Iterator[bytes]:
    """Yields the serialized examples of one file."""
    compression = "GZIP" if path.endswith(".gz") else ""
    records = tf.data.TFRecordDataset(path, compression, buffer_size=_READ_BUFFER_BYTES)
    # A step of the iterator takes longer than most records.
    for batch in without_autotuning(records.batch(_READ_BATCH)).as_numpy_iterator():
        yield from batch.tolist()


def list_target_columns(example: tf.train.Example) -> np.ndarray:
    """Returns the places of a tokenized example's response tokens that have a token before them to predict them: int64."""
    columns = np.flatnonzero(example.features.feature[features.TARGET_MASK].int64_list.value)
    return columns[columns > 0]


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
