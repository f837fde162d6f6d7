"""Perplexity: exp(sum of losses / number of target tokens) over a slice."""

import dataclasses

import numpy as np

from components.metrics.metric import Metric, Prediction, Sums, divide

# exp() of more overflows a float; a mean loss that high is no model.
_MAX_MEAN_LOSS = 700.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Perplexity(Metric):
    """exp(sum of losses / number of target tokens) over a slice: every target token counts the same."""

    reads_completion = False

    def directions(self) -> dict[str, bool | None]:
        """See `Metric`."""
        return {"perplexity": False}

    def count(self, prediction: Prediction) -> dict[str, float]:
        """See `Metric`."""
        return {"loss": prediction.nll_sum, "tokens": prediction.token_count}

    def finish(self, sums: Sums) -> dict[str, np.ndarray]:
        """See `Metric`."""
        return {"perplexity": np.exp(np.minimum(divide(sums["loss"], sums["tokens"]), _MAX_MEAN_LOSS))}
