"""Number match: whether the last number of an answer is right, for word problems."""

import dataclasses
import re

from components.metrics.metric import MeanMetric, Prediction

# What may stand in an answer of GSM8K behind its mark, and any number in a text.
_MARKED = re.compile(r"#### (-?[0-9.,]+)")
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?|-?\.\d+")


@dataclasses.dataclass(frozen=True, kw_only=True)
class NumberMatch(MeanMetric):
    """Share of the examples whose final number is that of the reference.

    GSM8K's rule (Cobbe et al., *Training Verifiers to Solve Math Word Problems*, arXiv 2110.14168): the number behind `####`,
    commas left out. A completion without one is wrong.

    Attributes:
        last_number: where a text has no `####`, take its last number (as lm-evaluation-harness' `flexible-extract` does).
    """

    last_number: bool = False

    def directions(self) -> dict[str, bool | None]:
        """See `Metric`."""
        return {"number_match": True}

    def score(self, prediction: Prediction) -> dict[str, float]:
        """See `MeanMetric`."""
        found, wanted = self._find(prediction.completion), self._find(prediction.reference)
        return {"number_match": float(found is not None and found == wanted)}

    def _find(self, text: str) -> str | None:
        if match := _MARKED.search(text):
            return match[1].replace(",", "")
        numbers = _NUMBER.findall(text) if self.last_number else []
        return numbers[-1].replace(",", "") if numbers else None
