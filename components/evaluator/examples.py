"""Predictions of several models, joined by example, as TFMA's extracts."""

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow as tf
from tensorflow_model_analysis import constants
from tfx.types.artifact import Artifact

from components.errors import UserError
from components.metrics.metric import Prediction
from components.splits import read_records
from components.text import features

_TEXTS = {features.COMPLETION: "completion", features.RESPONSE: "reference", features.PROMPT: "prompt"}


class JoinPredictions(beam.PTransform):
    """Predictions artifacts -> one extract an example: its slice columns, and what each model makes of it."""

    def __init__(
        self, artifacts: Mapping[str, Artifact], slice_columns: Iterable[str], metric_columns: Iterable[str] = ()
    ):
        """Sets it up.

        Args:
            artifacts: Predictions by model name, all of the same examples.
            slice_columns: Features that are carried along.
            metric_columns: Features that metrics read.
        """
        super().__init__()
        self._artifacts = artifacts
        self._columns = (list(slice_columns), list(metric_columns))

    def expand(self, begin: Any) -> Any:
        """Returns extracts.

        Raises:
            UserError: (while it runs) the models have not predicted the same examples.
        """
        by_model = {
            name: begin
            | f"Files[{name}]" >> beam.Create(sorted(tf.io.gfile.glob(os.path.join(artifact.uri, "predictions*"))))
            | f"Read[{name}]" >> beam.FlatMap(read_records)
            | f"Key[{name}]" >> beam.Map(_key_by_example)
            for name, artifact in self._artifacts.items()
        }
        return by_model | "Join" >> beam.CoGroupByKey() | "Extract" >> beam.FlatMap(_extract, *self._columns)


def parse_prediction(example: tf.train.Example, columns: Iterable[str] = ()) -> Prediction:
    """Returns what a metric reads of a prediction.

    Args:
        example: As a Predictor writes it.
        columns: Columns that metrics read.
    """
    values = example.features.feature
    texts: dict[str, Any] = {field: found[0] for name, field in _TEXTS.items() if (found := _read_texts(example, name))}
    numbers = {name: values[name].float_list.value[0] for name in features.SCORES if values[name].float_list.value}
    return Prediction(
        **texts,
        **numbers,
        other_completions=_read_texts(example, features.COMPLETION)[1:],
        other_references=_read_texts(example, features.RESPONSE)[1:],
        choices=_read_texts(example, features.CHOICES),
        choice_nlls=tuple(values[features.CHOICE_NLL].float_list.value),
        choice_answers=tuple(values[features.CHOICE_ANSWERS].int64_list.value),
        columns={name: next(iter(_read_texts(example, name)), "") for name in columns},
    )


def _read_texts(example: tf.train.Example, name: str) -> tuple[str, ...]:
    values = example.features.feature[name].bytes_list.value
    return tuple(value.decode("utf-8", "replace") for value in values)


def _key_by_example(serialized: bytes) -> tuple[str, bytes]:
    values = tf.train.Example.FromString(serialized).features.feature[features.EXAMPLE_ID].bytes_list.value
    return values[0].decode(), serialized


def _extract(
    joined: tuple[str, Mapping[str, Iterable[bytes]]], slice_columns: list[str], metric_columns: list[str]
) -> Iterator[dict[str, Any]]:
    example_id, found = joined
    # Equal records have one id; their predictions are equal as well, in whatever order they come.
    by_model = {name: sorted(records) for name, records in found.items()}
    counts = {name: len(records) for name, records in by_model.items()}
    if len(set(counts.values())) > 1:
        raise UserError(
            f"all models must have predicted the same examples. Received: example {example_id} {counts} times. Delete the "
            "cached predictions, or run the pipeline under another name."
        )
    for records in zip(*by_model.values(), strict=True):
        examples = [tf.train.Example.FromString(record) for record in records]
        columns = {name: _read_column(examples[0], name) for name in slice_columns}
        yield {
            constants.INPUT_KEY: b"",
            constants.FEATURES_KEY: {features.EXAMPLE_ID: example_id, **columns},
            constants.PREDICTIONS_KEY: {
                name: parse_prediction(example, metric_columns)
                for name, example in zip(by_model, examples, strict=True)
            },
        }


def _read_column(example: tf.train.Example, name: str) -> np.ndarray:
    feature = example.features.feature[name]
    kind = feature.WhichOneof("kind")
    return np.array(getattr(feature, kind).value if kind else [])
