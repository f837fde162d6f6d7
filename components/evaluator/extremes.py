"""The examples on which tuning has gained and lost most, for people to look at."""

import heapq
import json
import math
import os
from collections.abc import Iterable, Mapping
from typing import Any

import apache_beam as beam
from tensorflow_model_analysis import constants

from components.metrics.metric import Prediction
from components.splits import read_json
from components.text import features

NUM_EXTREMES = 10
# Characters of a text that are kept.
_LONGEST = 4000


class WriteExtremes(beam.PTransform):
    """Extracts -> `examples.json`: `gained` and `lost`, the largest change of mean loss a token first."""

    def __init__(self, candidate: str, other: str, slice_columns: Iterable[str], directory: str):
        """Sets it up.

        Args:
            candidate: Name of the model that is judged.
            other: Name of the model that it is compared with.
            slice_columns: Features that are shown.
            directory: Where the file goes.
        """
        super().__init__()
        self._arguments = (candidate, other, list(slice_columns))
        self._path = os.path.join(directory, "examples")

    def expand(self, extracts: Any) -> Any:
        """Writes the file."""
        return (
            extracts
            | "Compare" >> beam.Map(describe_example, *self._arguments)
            | "Extremes" >> beam.CombineGlobally(_Extremes(NUM_EXTREMES))
            | "Format" >> beam.Map(json.dumps, ensure_ascii=False)
            | "Write" >> beam.io.WriteToText(self._path, shard_name_template="", file_name_suffix=".json")
        )


def read_extremes(directory: str) -> dict[str, list[dict[str, Any]]]:
    """Returns what `WriteExtremes` has written."""
    return read_json(os.path.join(directory, "examples.json"))


def describe_example(
    extract: Mapping[str, Any], candidate: str, other: str, slice_columns: Iterable[str]
) -> dict[str, Any]:
    """Returns one example with what both models make of it."""
    values, predictions = extract[constants.FEATURES_KEY], extract[constants.PREDICTIONS_KEY]
    mine, others = predictions[candidate], predictions[other]
    columns = {name: [_decode(value) for value in values[name].tolist()] for name in slice_columns}
    return {
        "example_id": values[features.EXAMPLE_ID],
        "slices": {name: found[0] for name, found in columns.items() if found},
        "prompt": mine.prompt[:_LONGEST],
        "reference": mine.reference[:_LONGEST],
        "completion": mine.completion[:_LONGEST],
        "completion_before": others.completion[:_LONGEST],
        "loss": _mean_loss(mine),
        "loss_before": _mean_loss(others),
    }


class _Extremes(beam.CombineFn):
    """The examples of the largest gains and of the largest losses; ties by id, so that every run gives the same."""

    def __init__(self, number: int):
        self._number = number

    def create_accumulator(self) -> dict[str, list[dict[str, Any]]]:
        return {"gained": [], "lost": []}

    def add_input(
        self, mutable_accumulator: dict[str, list[dict[str, Any]]], element: dict[str, Any]
    ) -> dict[str, list[dict[str, Any]]]:
        gain = _gain(element)
        return self.merge_accumulators(
            [mutable_accumulator, {"gained": [element] * (gain > 0), "lost": [element] * (gain < 0)}]
        )

    def merge_accumulators(self, accumulators: Iterable[dict[str, list[Any]]]) -> dict[str, list[Any]]:
        found = list(accumulators)
        return {
            kind: heapq.nsmallest(
                self._number,
                (example for accumulator in found for example in accumulator[kind]),
                key=lambda example: (-abs(_gain(example)), example["example_id"]),
            )
            for kind in ("gained", "lost")
        }

    def extract_output(self, accumulator: dict[str, list[Any]]) -> dict[str, list[Any]]:
        return {kind: [_make_finite(example) for example in examples] for kind, examples in accumulator.items()}


def _gain(example: Mapping[str, Any]) -> float:
    """Nats a token that the loss has become smaller; what is not a number has lost all there is."""
    gain = example["loss_before"] - example["loss"]
    return float("-inf") if math.isnan(gain) else gain


def _make_finite(example: Mapping[str, Any]) -> dict[str, Any]:
    """JSON has no NaN."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in example.items()}


def _mean_loss(prediction: Prediction) -> float:
    return prediction.nll_sum / max(prediction.token_count, 1)


def _decode(value: Any) -> Any:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
