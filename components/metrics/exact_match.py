"""CompletionExactMatch (TFMA has an `ExactMatch` of its own, of labels): share of the examples whose greedy completion is the reference."""

from collections.abc import Mapping
from typing import Any

from tensorflow_model_analysis.metrics import metric_types, metric_util

from components.metrics import ratio


def _terms(outputs: Mapping[str, Any]) -> tuple[float, float]:
    same = ratio.text(outputs, "completion").strip() == ratio.text(outputs, "reference").strip()
    return float(same), 1.0


def _finish(value: float) -> float:
    return value


def _computations(name: str, model_name: str = "", output_name: str = "", **_: Any) -> list:
    return ratio.ratio_computations(name, _terms, _finish, model_name, output_name)


class CompletionExactMatch(metric_types.Metric):
    """Share of the examples whose greedy completion equals the reference, but for blank space around it.

    Reads `completion` and `reference` of the `evaluate` signature, one text of an example each.
    """

    def __init__(self, name: str = "exact_match"):
        """Names the metric."""
        super().__init__(metric_util.merge_per_key_computations(_computations), name=name)


metric_types.register_metric(CompletionExactMatch)
