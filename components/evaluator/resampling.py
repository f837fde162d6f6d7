"""A metric in TFMA: over every slice, for every model, with intervals, and with the models compared on the same examples.

Intervals are those of the bootstrap. Each example counts in a resample as often as a draw from Poisson(1) says, which needs no
list of all examples, so that it can be done on any Beam runner in one pass (Chamandy et al., *Estimating Uncertainty for
Massive Data Streams*, Google, 2012). The draws depend on seed and example alone: all models and metrics see the same
resamples, whatever the order of examples and the number of workers, and a change between two models is measured on the
same examples pair by pair.
"""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import apache_beam as beam
import numpy as np
import tfx.types  # noqa: F401  Before TFMA, whose data validation needs a module that tfx supplies.
from tensorflow_model_analysis import constants
from tensorflow_model_analysis.metrics import metric_types

from components.metrics.metric import Metric, Prediction, Sums
from components.metrics.table import make_metric
from components.text import features

# Behind the name of a value, in the names of TFMA's results: [low, high], and [change, low, high].
INTERVAL = ":interval"
CHANGE = ":change from "


@dataclasses.dataclass(frozen=True, kw_only=True)
class Resampling:
    """How intervals are made.

    Attributes:
        resamples: how many.
        confidence: share of resamples inside an interval.
        seed: of the draws.
    """

    resamples: int = 1000
    confidence: float = 0.95
    seed: int = 0

    def draw_weights(self, example_id: str) -> np.ndarray:
        """How often an example counts: 1 in the data themselves, then in each resample; float64 (1 + resamples,)."""
        return _draw_weights(example_id, self.seed, self.resamples)

    def find_interval(self, values: np.ndarray) -> np.ndarray:
        """Low and high end, float64 (2,), of the values of the resamples (all but the first); NaN if the first is."""
        resampled = values[1:][np.isfinite(values[1:])]
        if not np.isfinite(values[0]) or not resampled.size:
            return np.full(2, np.nan)
        tail = (1 - self.confidence) / 2
        return np.quantile(resampled, [tail, 1 - tail])


@functools.lru_cache(maxsize=16)  # all metrics ask for one example, one after the other
def _draw_weights(example_id: str, seed: int, resamples: int) -> np.ndarray:
    key = int.from_bytes(hashlib.blake2b(f"{seed}\0{example_id}".encode(), digest_size=16).digest(), "big")
    draws = np.random.Generator(np.random.Philox(key=key)).poisson(1.0, resamples)
    weights = np.concatenate([[1.0], draws])
    weights.setflags(write=False)
    return weights


class _Pairs(metric_types.Preprocessor):
    """Extracts -> (example id, the models' predictions)."""

    def process(self, extracts: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Prediction]]]:
        """Yields what the combiner needs."""
        yield extracts[constants.FEATURES_KEY][features.EXAMPLE_ID], extracts[constants.PREDICTIONS_KEY]


class _Combine(beam.CombineFn):
    """Sums of one metric for each model, over the examples and over their resamples; merging is exact on any runner."""

    def __init__(self, metric: Metric, models: list[str], comparisons: list[tuple[str, str]], resampling: Resampling):
        self._metric = metric
        self._models = models
        self._comparisons = comparisons
        self._resampling = resampling

    def create_accumulator(self) -> dict[str, Sums]:
        return {model: Sums(1 + self._resampling.resamples) for model in self._models}

    def add_input(
        self, mutable_accumulator: dict[str, Sums], element: tuple[str, Mapping[str, Prediction]]
    ) -> dict[str, Sums]:
        example_id, predictions = element
        weights = self._resampling.draw_weights(example_id)
        for model, sums in mutable_accumulator.items():
            # TFMA gives one model alone the name "".
            prediction = predictions[model] if model else next(iter(predictions.values()))
            for name, number in self._metric.count(prediction).items():
                if name in sums:
                    sums[name] += number * weights
                else:
                    sums[name] = number * weights
        return mutable_accumulator

    def merge_accumulators(self, accumulators: Iterable[dict[str, Sums]]) -> dict[str, Sums]:
        merged = self.create_accumulator()
        for accumulator in accumulators:
            for model, sums in accumulator.items():
                for name, values in sums.items():
                    merged[model][name] = merged[model][name] + values
        return merged

    def extract_output(self, accumulator: dict[str, Sums]) -> dict[metric_types.MetricKey, Any]:
        values = {model: self._metric.finish(sums) for model, sums in accumulator.items()}
        output: dict[metric_types.MetricKey, Any] = {}
        for model, by_name in values.items():
            for name, resampled in by_name.items():
                output[_key(name, model)] = float(resampled[0])
                output[_key(name + INTERVAL, model)] = self._resampling.find_interval(resampled)
        for model, other in self._comparisons:
            for name, resampled in values[model].items():
                # A label that only one of the models has ever used.
                change = resampled - values[other].get(name, np.full_like(resampled, np.nan))
                interval = self._resampling.find_interval(change)
                output[_key(f"{name}{CHANGE}{other}", model)] = np.array([change[0], *interval])
        return output


class ResampledMetric(metric_types.Metric):
    """TFMA's metric around one of `components.metrics`."""

    def __init__(self, name: str, options: str, comparisons: str, resampling: str):
        """Names the metric.

        Args:
            name: of the metric in the table.
            options: its options, JSON.
            comparisons: pairs of models, the first of which is compared with the second, JSON.
            resampling: fields of `Resampling`, JSON.
        """
        super().__init__(_make_computations, name=name, options=options, comparisons=comparisons, resampling=resampling)


def _make_computations(
    name: str, options: str, comparisons: str, resampling: str, model_names: list[str] | None = None
) -> list[metric_types.MetricComputation]:
    metric = make_metric(name, json.loads(options))
    pairs = [(model, other) for model, other in json.loads(comparisons)]
    models = list(model_names or [""])
    combine = _Combine(metric, models, pairs, Resampling(**json.loads(resampling)))
    # The other names are known once the data are.
    keys = [_key(value, model) for value in metric.directions() for model in models]
    return [metric_types.MetricComputation(keys=keys, preprocessors=[_Pairs()], combiner=combine)]


def _key(name: str, model: str) -> metric_types.MetricKey:
    return metric_types.MetricKey(name=name, model_name=model)


metric_types.register_metric(ResampledMetric)
