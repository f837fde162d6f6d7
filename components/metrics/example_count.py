"""Example count: how many examples a slice has."""

import dataclasses

import numpy as np

from components.metrics.metric import Metric, Prediction, Sums


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExampleCount(Metric):
    """Number of examples in the slice."""

    reads_completion = False

    def directions(self) -> dict[str, bool | None]:
        """See `Metric`."""
        return {"example_count": None}

    def count(self, prediction: Prediction) -> dict[str, float]:
        """See `Metric`."""
        return {"examples": 1.0}

    def finish(self, sums: Sums) -> dict[str, np.ndarray]:
        """See `Metric`."""
        return {"example_count": sums["examples"]}
