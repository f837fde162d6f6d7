"""Fuzzy match: how many edits a completion is away from its reference."""

import dataclasses

from components.metrics.metric import MeanMetric, Prediction


@dataclasses.dataclass(frozen=True, kw_only=True)
class FuzzyMatch(MeanMetric):
    """Mean similarity of completion and reference: 1 - edits / length of the longer one.

    Edits are insertions, deletions and replacements of one character (Levenshtein's distance). Two empty texts are equal.
    Blank space around a text does not count.
    """

    def directions(self) -> dict[str, bool | None]:
        """See `Metric`."""
        return {"fuzzy_match": True}

    def score(self, prediction: Prediction) -> dict[str, float]:
        """See `MeanMetric`."""
        from rapidfuzz.distance import Levenshtein

        texts = prediction.completion.strip(), prediction.reference.strip()
        return {"fuzzy_match": Levenshtein.normalized_similarity(*texts)}
