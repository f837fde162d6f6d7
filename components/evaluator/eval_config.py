"""The run's `evaluation` section as TFMA's configuration."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from tensorflow_model_analysis.proto import config_pb2

from components.evaluator.gate import CANDIDATE
from components.evaluator.resampling import ResampledMetric, Resampling


def make_eval_config(evaluation: Mapping[str, Any], models: Sequence[str]) -> config_pb2.EvalConfig:
    """Returns TFMA's configuration: every metric for every model, and the changes from the others to the candidate.

    TFMA's own thresholds stay empty: they know a number and a bound, and no evidence. `gate.py` decides.

    Args:
        evaluation: The run's `evaluation` section.
        models: Names of the models, the candidate among them.
    """
    resampling = Resampling(
        resamples=evaluation["resamples"], confidence=evaluation["confidence"], seed=evaluation["seed"]
    )
    entries = [*evaluation["metrics"]]
    if all(entry["name"] != "example_count" for entry in entries):
        entries.append({"name": "example_count"})  # the gate asks how many there are
    comparisons = [(CANDIDATE, other) for other in models if other != CANDIDATE]
    return config_pb2.EvalConfig(
        # TFMA asks for a label, which these metrics take from the predictions instead.
        model_specs=[config_pb2.ModelSpec(name=name) for name in models],
        slicing_specs=[
            config_pb2.SlicingSpec(),
            *(config_pb2.SlicingSpec(feature_keys=[column]) for column in evaluation["slice_columns"]),
        ],
        metrics_specs=[
            config_pb2.MetricsSpec(
                model_names=list(models),
                metrics=[_make_metric(entry, comparisons, resampling) for entry in entries],
            )
        ],
    )


def _make_metric(
    entry: Mapping[str, Any], comparisons: list[tuple[str, str]], resampling: Resampling
) -> config_pb2.MetricConfig:
    options = {key: value for key, value in entry.items() if key != "name"}
    return config_pb2.MetricConfig(
        class_name=ResampledMetric.__name__,
        module=ResampledMetric.__module__,
        config=json.dumps(
            {
                "name": entry["name"],
                "options": json.dumps(options, sort_keys=True),
                "comparisons": json.dumps(comparisons),
                "resampling": json.dumps(dataclasses.asdict(resampling)),
            }
        ),
    )
