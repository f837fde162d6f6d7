"""Perplexity: exp(sum of losses / number of target tokens) over a slice."""

import math
from collections.abc import Mapping
from typing import Any

from tensorflow_model_analysis.metrics import metric_types, metric_util

from components.metrics import ratio

# exp() of more overflows a float; a mean loss that high is no model.
_MAX_MEAN_LOSS = 700.0


def _terms(outputs: Mapping[str, Any]) -> tuple[float, float]:
    return ratio.number(outputs, "nll_sum"), ratio.number(outputs, "token_count")


def _finish(value: float) -> float:
    return math.exp(min(value, _MAX_MEAN_LOSS))


def _computations(name: str, model_name: str = "", output_name: str = "", **_: Any) -> list:
    return ratio.ratio_computations(name, _terms, _finish, model_name, output_name)


class Perplexity(metric_types.Metric):
    """exp(sum of losses / number of target tokens) over a slice.

    Reads `nll_sum` (natural logarithm) and `token_count` of the `evaluate` signature, scalars of one example each. The
    ratio is of the sums over the slice, so every target token counts the same.
    """

    def __init__(self, name: str = "perplexity"):
        """Names the metric."""
        super().__init__(metric_util.merge_per_key_computations(_computations), name=name)


metric_types.register_metric(Perplexity)
