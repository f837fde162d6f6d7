"""What the metrics share: a sum over examples divided by another one, whatever the slice."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import apache_beam as beam
import numpy as np
from tensorflow_model_analysis.metrics import metric_types

# Outputs of the model's `evaluate` signature for one example -> what it adds to (numerator, denominator).
Terms = Callable[[Mapping[str, Any]], tuple[float, float]]


class _Ratio(beam.CombineFn):
    """(sum of numerators, sum of denominators) over the examples of a slice; merging is exact on any runner."""

    def __init__(self, key: metric_types.MetricKey, terms: Terms, finish: Callable[[float], float]):
        self._key = key
        self._terms = terms
        self._finish = finish

    def create_accumulator(self) -> tuple[float, float]:
        return (0.0, 0.0)

    def add_input(
        self, mutable_accumulator: tuple[float, float], element: metric_types.StandardMetricInputs
    ) -> tuple[float, float]:
        outputs = element.get_predictions(self._key.model_name, self._key.output_name)
        numerator, denominator = self._terms(outputs)
        return (mutable_accumulator[0] + numerator, mutable_accumulator[1] + denominator)

    def merge_accumulators(self, accumulators: Iterable[tuple[float, float]]) -> tuple[float, float]:
        numerators, denominators = zip(*accumulators, strict=True)
        return (sum(numerators), sum(denominators))

    def extract_output(self, accumulator: tuple[float, float]) -> dict[metric_types.MetricKey, float]:
        numerator, denominator = accumulator
        return {self._key: self._finish(numerator / denominator) if denominator else float("nan")}


def ratio_computations(
    name: str, terms: Terms, finish: Callable[[float], float], model_name: str, output_name: str
) -> list[metric_types.MetricComputation]:
    """Returns TFMA's computation of finish(sum of numerators / sum of denominators); NaN over no examples.

    Args:
        name: Name of the metric.
        terms: Gives an example's share in both sums. A module-level function, so that Beam can send it to workers.
        finish: Applied to the ratio.
        model_name: As TFMA hands it to a metric.
        output_name: As TFMA hands it to a metric.
    """
    key = metric_types.MetricKey(name=name, model_name=model_name, output_name=output_name)
    return [metric_types.MetricComputation(keys=[key], preprocessors=None, combiner=_Ratio(key, terms, finish))]


def number(outputs: Mapping[str, Any], name: str) -> float:
    """Returns the scalar output `name` of one example."""
    return float(np.sum(outputs[name]))


def text(outputs: Mapping[str, Any], name: str) -> str:
    """Returns the text output `name` of one example; bytes that are no UTF-8 become replacement characters."""
    value = np.asarray(outputs[name]).reshape(-1)[0]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
