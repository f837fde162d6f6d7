"""The run's `evaluation` section as TFMA's configuration."""

from collections.abc import Mapping
from typing import Any

from google.protobuf import wrappers_pb2
from tensorflow_model_analysis.proto import config_pb2

from components.metrics import METRICS

CANDIDATE = "candidate"
BASELINE = "baseline"
PRESET = "preset"


def make_eval_config(evaluation: Mapping[str, Any], with_preset: bool) -> config_pb2.EvalConfig:
    """Returns TFMA's configuration for the candidate, its baseline and, if it is not the baseline, the untouched preset.

    Thresholds hold for the candidate over the whole split. The preset is only measured.

    Args:
        evaluation: The run's `evaluation` section.
        with_preset: Whether the preset is a third model.
    """
    names = evaluation["metrics"]
    signature = "evaluate" if any(METRICS[name].needs_text for name in names) else "score"
    # TFMA asks for a label, which these metrics take from the signature's outputs instead.
    specs = [config_pb2.ModelSpec(name=CANDIDATE, signature_name=signature)]
    specs.append(config_pb2.ModelSpec(name=BASELINE, signature_name=signature, is_baseline=True))
    thresholds = {
        name: _thresholds(name, [t for t in evaluation["thresholds"] if t["metric"] == name]) for name in names
    }
    metrics_specs = [
        config_pb2.MetricsSpec(model_names=[CANDIDATE, BASELINE], metrics=[_metric(n, thresholds[n]) for n in names])
    ]
    if with_preset:
        specs.append(config_pb2.ModelSpec(name=PRESET, signature_name=signature))
        metrics_specs.append(config_pb2.MetricsSpec(model_names=[PRESET], metrics=[_metric(n, []) for n in names]))
    return config_pb2.EvalConfig(
        model_specs=specs,
        slicing_specs=[
            config_pb2.SlicingSpec(),
            *(config_pb2.SlicingSpec(feature_keys=[c]) for c in evaluation["slice_columns"]),
        ],
        metrics_specs=metrics_specs,
    )


def _metric(name: str, thresholds: list[config_pb2.MetricThreshold]) -> config_pb2.MetricConfig:
    entry = METRICS[name]
    # Stated for a slicing spec, a threshold holds there alone; stated without one, TFMA applies it to every slice.
    per_slice = [
        config_pb2.PerSliceMetricThreshold(slicing_specs=[config_pb2.SlicingSpec()], threshold=t) for t in thresholds
    ]
    return config_pb2.MetricConfig(
        class_name=entry.class_name,
        module=entry.module,
        config=f'{{"name": "{name}"}}',
        per_slice_thresholds=per_slice,
    )


def _thresholds(name: str, rules: list[Mapping[str, Any]]) -> list[config_pb2.MetricThreshold]:
    result = []
    for rule in rules:
        threshold = config_pb2.MetricThreshold()
        for bound in ("lower_bound", "upper_bound"):
            if rule[bound] is not None:
                getattr(threshold.value_threshold, bound).CopyFrom(wrappers_pb2.DoubleValue(value=rule[bound]))
        if rule["min_improvement"] is not None:
            # TFMA's difference is candidate - baseline, so an improvement of a loss is a negative one.
            higher = METRICS[name].higher_is_better
            threshold.change_threshold.direction = (
                config_pb2.MetricDirection.HIGHER_IS_BETTER if higher else config_pb2.MetricDirection.LOWER_IS_BETTER
            )
            value = rule["min_improvement"] if higher else -rule["min_improvement"]
            threshold.change_threshold.absolute.CopyFrom(wrappers_pb2.DoubleValue(value=value))
        result.append(threshold)
    return result
