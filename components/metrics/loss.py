"""Loss: mean loss of the answers' tokens."""

import dataclasses

import numpy as np

from components.metrics.metric import Metric, Prediction, Sums, divide


@dataclasses.dataclass(frozen=True, kw_only=True)
class Loss(Metric):
    """Sum of losses in nats / number of target tokens, over a slice: the logarithm of the perplexity."""

    reads_completion = False

    def directions(self) -> dict[str, bool | None]:
        """See `Metric`."""
        return {"loss": False}

    def count(self, prediction: Prediction) -> dict[str, float]:
        """See `Metric`."""
        return {"loss": prediction.nll_sum, "tokens": prediction.token_count}

    def finish(self, sums: Sums) -> dict[str, np.ndarray]:
        """See `Metric`."""
        return {"loss": divide(sums["loss"], sums["tokens"])}
