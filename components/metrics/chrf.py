"""chrF of a slice as one corpus: F-score of characters, for any language."""

import dataclasses
import functools
from typing import Any

import numpy as np

from components.metrics.metric import Metric, Prediction, Sums


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chrf(Metric):
    """Corpus chrF2, 0 to 100, by sacrebleu: F-score of runs of 1 to 6 characters, recall counting twice.

    Popović, *chrF: character n-gram F-score for automatic MT evaluation*, WMT 2015; with `word_order: 2` chrF++ (WMT 2017).

    Attributes:
        word_order: also runs of up to so many words, at most 2.
    """

    word_order: int = 0

    def __post_init__(self) -> None:
        """Checks the options.

        Raises:
            ValueError: `word_order` is out of range.
        """
        if self.word_order not in (0, 1, 2) or isinstance(self.word_order, bool):
            raise ValueError(f"`word_order` must be 0, 1 or 2. Received: {self.word_order!r}")

    def directions(self) -> dict[str, bool | None]:
        """See `Metric`."""
        return {"chrf": True}

    def count(self, prediction: Prediction) -> dict[str, float]:
        """See `Metric`."""
        # Its only way to the counts of a segment; its own significance tests take it.
        (counts,) = _make_chrf(self.word_order)._extract_corpus_statistics(
            [prediction.completion], [[prediction.reference]]
        )
        return {"examples": 1.0} | {str(place): float(count) for place, count in enumerate(counts)}

    def finish(self, sums: Sums) -> dict[str, np.ndarray]:
        """See `Metric`."""
        chrf = _make_chrf(self.word_order)
        rows = np.stack([sums[str(place)] for place in range(3 * chrf.order)], axis=1)
        scores = [chrf._compute_f_score(list(row)) for row in rows]
        return {"chrf": np.where(sums["examples"] > 0, scores, np.nan)}

    def describe(self) -> str:
        """sacrebleu's signature."""
        chrf = _make_chrf(self.word_order)
        chrf.corpus_score(["a"], [["a"]])
        return str(chrf.get_signature())


@functools.cache
def _make_chrf(word_order: int) -> Any:
    from sacrebleu.metrics.chrf import CHRF

    return CHRF(word_order=word_order)
