"""Token accuracy: share of the target tokens that the model ranks first."""

import dataclasses

import numpy as np

from components.metrics.metric import Metric, Prediction, Sums, divide


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenAccuracy(Metric):
    """Share of the target tokens that the model ranks first, given the true tokens before; every token counts the same."""

    reads_completion = False

    def directions(self) -> dict[str, bool | None]:
        """See `Metric`."""
        return {"token_accuracy": True}

    def count(self, prediction: Prediction) -> dict[str, float]:
        """See `Metric`."""
        return {"correct": prediction.correct_count, "tokens": prediction.token_count}

    def finish(self, sums: Sums) -> dict[str, np.ndarray]:
        """See `Metric`."""
        return {"token_accuracy": divide(sums["correct"], sums["tokens"])}
