"""Repetition: how much of what a model writes it has written before, in the same completion."""

import dataclasses

import numpy as np

from components.metrics.metric import Metric, Prediction, Sums, divide


@dataclasses.dataclass(frozen=True, kw_only=True)
class Repetition(Metric):
    """Distinct-1, distinct-2 and the repetition rate.

    Distinct-n (Li et al., *A Diversity-Promoting Objective Function for Neural Conversation Models*, NAACL 2016, arXiv
    1510.03055): different n-grams / all n-grams, words being what blank space separates. Here n-grams are told apart within a
    completion and counted over the slice: between completions of one task, agreement is no fault. The repetition rate is
    1 - distinct-n at `size`.

    Attributes:
        size: words of the runs whose return is a repetition.
    """

    size: int = 4

    def __post_init__(self) -> None:
        """Checks the options.

        Raises:
            ValueError: `size` is out of range.
        """
        if not isinstance(self.size, int) or isinstance(self.size, bool) or self.size < 1:
            raise ValueError(f"`size` must be an integer of at least 1. Received: {self.size!r}")

    def directions(self) -> dict[str, bool | None]:
        """See `Metric`."""
        return {"distinct_1": True, "distinct_2": True, "repetition_rate": False}

    def count(self, prediction: Prediction) -> dict[str, float]:
        """See `Metric`."""
        words = prediction.completion.split()
        counts: dict[str, float] = {}
        for size in {1, 2, self.size}:
            runs = list(zip(*(words[i:] for i in range(size)), strict=False))
            counts |= {f"different_{size}": len(set(runs)), f"all_{size}": len(runs)}
        return counts

    def finish(self, sums: Sums) -> dict[str, np.ndarray]:
        """See `Metric`."""
        distinct = {size: divide(sums[f"different_{size}"], sums[f"all_{size}"]) for size in (1, 2, self.size)}
        return {"distinct_1": distinct[1], "distinct_2": distinct[2], "repetition_rate": 1 - distinct[self.size]}
