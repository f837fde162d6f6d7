"""BLEU of a slice as one corpus, for translations."""

import dataclasses
import functools
from typing import Any

import numpy as np

from components.metrics.metric import Metric, Prediction, Sums

_MAX_ORDER = 4
_TOKENIZERS = ("13a", "intl", "char", "zh", "none")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bleu(Metric):
    """Corpus BLEU, 0 to 100, by sacrebleu: geometric mean of n-gram precisions (n = 1 to 4), with brevity penalty.

    Papineni et al., ACL 2002; Post, *A Call for Clarity in Reporting BLEU Scores*, WMT 2018 (arXiv 1804.08771).

    Attributes:
        tokenize: sacrebleu's tokenizer: `13a` (the usual one), `intl`, `char`, `zh` or `none`.
        lowercase: whether case is ignored.
    """

    tokenize: str = "13a"
    lowercase: bool = False

    def __post_init__(self) -> None:
        """Checks the options.

        Raises:
            ValueError: there is no such tokenizer.
        """
        if self.tokenize not in _TOKENIZERS:
            raise ValueError(f"`tokenize` must be one of {', '.join(_TOKENIZERS)}. Received: {self.tokenize!r}")

    def directions(self) -> dict[str, bool | None]:
        """See `Metric`."""
        return {"bleu": True}

    def count(self, prediction: Prediction) -> dict[str, float]:
        """See `Metric`."""
        score = _make_bleu(self.tokenize, self.lowercase).corpus_score(
            [prediction.completion], [[prediction.reference]]
        )
        counts = {"examples": 1.0, "length": score.sys_len, "reference_length": score.ref_len}
        for order in range(_MAX_ORDER):
            counts |= {f"shared_{order}": score.counts[order], f"all_{order}": score.totals[order]}
        return counts

    def finish(self, sums: Sums) -> dict[str, np.ndarray]:
        """See `Metric`."""
        from sacrebleu.metrics.bleu import BLEU

        columns = [sums[f"{kind}_{order}"] for kind in ("shared", "all") for order in range(_MAX_ORDER)]
        columns += [sums["length"], sums["reference_length"]]
        rows = np.stack(columns, axis=1).astype(int).tolist()  # (resamples, 10)
        scores = [
            BLEU.compute_bleu(row[:_MAX_ORDER], row[_MAX_ORDER:-2], row[-2], row[-1], smooth_method="exp").score
            for row in rows
        ]
        return {"bleu": np.where(sums["examples"] > 0, scores, np.nan)}

    def describe(self) -> str:
        """sacrebleu's signature."""
        bleu = _make_bleu(self.tokenize, self.lowercase)
        bleu.corpus_score(["a"], [["a"]])  # it knows the number of references only then
        return str(bleu.get_signature())


@functools.cache
def _make_bleu(tokenize: str, lowercase: bool) -> Any:
    from sacrebleu.metrics.bleu import BLEU

    return BLEU(tokenize=tokenize, lowercase=lowercase)
