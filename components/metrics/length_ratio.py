"""Length ratio: words of the completions by words of the references."""

import dataclasses

import numpy as np

from components.metrics.metric import Metric, Prediction, Sums, divide


@dataclasses.dataclass(frozen=True, kw_only=True)
class LengthRatio(Metric):
    """Words of all completions / words of all references of a slice, a word being what blank space separates."""

    def directions(self) -> dict[str, bool | None]:
        """See `Metric`."""
        return {"length_ratio": None}

    def count(self, prediction: Prediction) -> dict[str, float]:
        """See `Metric`."""
        return {"words": len(prediction.completion.split()), "reference_words": len(prediction.reference.split())}

    def finish(self, sums: Sums) -> dict[str, np.ndarray]:
        """See `Metric`."""
        return {"length_ratio": divide(sums["words"], sums["reference_words"])}
