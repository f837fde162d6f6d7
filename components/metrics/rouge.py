"""ROUGE-1, ROUGE-2 and ROUGE-L, for summaries."""

import dataclasses
import functools
from typing import Any

from components.metrics.metric import MeanMetric, Prediction

_NAMES = {"rouge1": "rouge_1", "rouge2": "rouge_2", "rougeL": "rouge_l"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rouge(MeanMetric):
    """Mean F-measure of shared single words, pairs of words, and the longest common subsequence, by the rouge-score package.

    Lin, *ROUGE: A Package for Automatic Evaluation of Summaries*, 2004. The package's words are runs of `a-z0-9` in lower
    case: of other scripts it sees nothing (chrF does).

    Attributes:
        use_stemmer: whether `runs` is `run` (Porter's stemmer, for English).
    """

    use_stemmer: bool = False

    def directions(self) -> dict[str, bool | None]:
        """See `Metric`."""
        return dict.fromkeys(_NAMES.values(), True)

    def score(self, prediction: Prediction) -> dict[str, float]:
        """See `MeanMetric`."""
        scores = _make_scorer(self.use_stemmer).score(prediction.reference, prediction.completion)
        return {name: scores[key].fmeasure for key, name in _NAMES.items()}

    def describe(self) -> str:
        """See `Metric`."""
        import importlib.metadata

        return f"rouge-score {importlib.metadata.version('rouge-score')}, use_stemmer={self.use_stemmer}"


@functools.cache
def _make_scorer(use_stemmer: bool) -> Any:
    from rouge_score import rouge_scorer

    return rouge_scorer.RougeScorer(list(_NAMES), use_stemmer=use_stemmer)
