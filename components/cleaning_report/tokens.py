"""Scored examples together with what the cut made of them: the recorded transform graph is asked, not repeated."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from components.splits import list_target_columns
from components.text import features


@dataclass(frozen=True, kw_only=True)
class CleanedExample:
    """One example of the split that was cleaned.

    Attributes:
        example_id: Hex digest.
        prompt: The rendered prompt.
        slices: Values of the slice columns.
        token_ids: int64 (number of response tokens,); the tokens that have one before them to predict them.
        influence: float32, as long.
        is_kept: bool, as long: whether a token is a training target.
    """

    example_id: str
    prompt: str
    slices: dict[str, str]
    token_ids: np.ndarray
    influence: np.ndarray
    is_kept: np.ndarray


class Cleaner:
    """Applies a transform graph to scored examples."""

    def __init__(self, transform_graph: str, slice_columns: Sequence[str]):
        """Loads the graph.

        Args:
            transform_graph: URI of a TransformGraph artifact.
            slice_columns: Names of the features to carry along.
        """
        self._slice_columns = list(slice_columns)
        self._output = tft.TFTransformOutput(transform_graph)
        self._spec = self._output.raw_feature_spec()
        self._transform = tf.function(self._transform_records, input_signature=[tf.TensorSpec([None], tf.string)])

    def __call__(self, records: Sequence[bytes]) -> list[CleanedExample]:
        """Returns serialized scored examples with the verdict on each of their response tokens."""
        weights = self._transform(tf.constant(list(records))).to_list()
        return [self._describe(record, weight) for record, weight in zip(records, weights, strict=True)]

    def _transform_records(self, records: tf.Tensor) -> tf.RaggedTensor:
        inputs = tf.io.parse_example(records, self._spec)
        return tf.RaggedTensor.from_sparse(self._output.transform_raw_features(inputs)[features.LOSS_WEIGHT])

    def _describe(self, record: bytes, weight: list[float]) -> CleanedExample:
        example = tf.train.Example.FromString(record)
        values, columns = example.features.feature, list_target_columns(example)

        def text(name: str) -> str:
            held = values[name].bytes_list.value if name in values else []
            return held[0].decode("utf-8", "replace") if held else ""

        return CleanedExample(
            example_id=text(features.EXAMPLE_ID),
            prompt=text(features.PROMPT),
            slices={name: text(name) for name in self._slice_columns},
            token_ids=np.array(values[features.TOKEN_IDS].int64_list.value)[columns],
            influence=np.array(values[features.TOKEN_INFLUENCE].float_list.value, np.float32)[columns],
            is_kept=np.array(weight)[columns] > 0,
        )
