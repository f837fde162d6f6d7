"""TokenAccuracy: Share of the target tokens that the model ranks first."""

from collections.abc import Mapping
from typing import Any

from tensorflow_model_analysis.metrics import metric_types, metric_util

from components.metrics import ratio


def _terms(outputs: Mapping[str, Any]) -> tuple[float, float]:
    return ratio.number(outputs, "correct_count"), ratio.number(outputs, "token_count")


def _finish(value: float) -> float:
    return value


def _computations(name: str, model_name: str = "", output_name: str = "", **_: Any) -> list:
    return ratio.ratio_computations(name, _terms, _finish, model_name, output_name)


class TokenAccuracy(metric_types.Metric):
    """Share of the target tokens that the model ranks first.

    Reads `correct_count` and `token_count` of the `evaluate` signature, scalars of one example each. The ratio is of the sums
    over the slice, so every target token counts the same.
    """

    def __init__(self, name: str = "token_accuracy"):
        """Names the metric."""
        super().__init__(metric_util.merge_per_key_computations(_computations), name=name)


metric_types.register_metric(TokenAccuracy)
