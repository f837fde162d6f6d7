"""Exact match: share of the examples whose completion is the reference."""

import dataclasses

from components.metrics.metric import MeanMetric, Prediction


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExactMatch(MeanMetric):
    """Share of the examples whose completion equals the reference, but for blank space around it.

    Attributes:
        ignore_case: whether `Yes` is `yes`.
    """

    ignore_case: bool = False

    def directions(self) -> dict[str, bool | None]:
        """See `Metric`."""
        return {"exact_match": True}

    def score(self, prediction: Prediction) -> dict[str, float]:
        """See `MeanMetric`."""
        pair = prediction.completion.strip(), prediction.reference.strip()
        if self.ignore_case:
            pair = pair[0].casefold(), pair[1].casefold()
        return {"exact_match": float(pair[0] == pair[1])}
