"""Bits per byte: the loss of the answers by the length of their text, which models of different tokenizers share."""

import dataclasses
import math

import numpy as np

from components.metrics.metric import Metric, Prediction, Sums, divide


@dataclasses.dataclass(frozen=True, kw_only=True)
class BitsPerByte(Metric):
    """Sum of losses in bits / bytes of UTF-8 of the answers, over a slice. The end token's loss is part of the sum."""

    reads_completion = False

    def directions(self) -> dict[str, bool | None]:
        """See `Metric`."""
        return {"bits_per_byte": False}

    def count(self, prediction: Prediction) -> dict[str, float]:
        """See `Metric`."""
        return {"bits": prediction.nll_sum / math.log(2), "bytes": prediction.byte_count}

    def finish(self, sums: Sums) -> dict[str, np.ndarray]:
        """See `Metric`."""
        return {"bits_per_byte": divide(sums["bits"], sums["bytes"])}
