"""SQuAD's exact match and token F1, for short answers."""

import collections
import dataclasses
import re
import string

from components.metrics.metric import MeanMetric, Prediction

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Squad(MeanMetric):
    """Exact match and F1 of the words, after SQuAD's normalisation: lower case, without punctuation and articles.

    Rajpurkar et al., *SQuAD: 100,000+ Questions for Machine Comprehension of Text*, EMNLP 2016 (arXiv 1606.05250), version
    1.1 of its evaluation: F1 of two texts is that of their bags of words, and 0 where they share none. Of several references
    the nearest counts. Its articles are English ones.
    """

    def directions(self) -> dict[str, bool | None]:
        """See `Metric`."""
        return {"squad_exact_match": True, "squad_f1": True}

    def score(self, prediction: Prediction) -> dict[str, float]:
        """See `MeanMetric`."""
        completion = _list_words(prediction.completion)
        references = [_list_words(reference) for reference in prediction.references]
        return {
            "squad_exact_match": float(completion in references),
            "squad_f1": max(_f1(completion, reference) for reference in references),
        }


def _list_words(text: str) -> list[str]:
    return _ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split()


def _f1(completion: list[str], reference: list[str]) -> float:
    shared = (collections.Counter(completion) & collections.Counter(reference)).total()
    return 2 * shared / (len(completion) + len(reference)) if shared else 0.0
