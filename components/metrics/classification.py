"""Classification: accuracy, precision, recall and F1 of labels that a model writes out."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from components.metrics.metric import Metric, Prediction, Sums, divide

# Stands for every completion that is no label. Line breaks cannot be in a label.
_NO_LABEL = "\n"
# How the matrix calls them.
NO_LABEL = "(no label)"
MAX_CONFUSION_LABELS = 30


@dataclasses.dataclass(frozen=True, kw_only=True)
class Classification(Metric):
    """Completions and references as labels; equal but for case and blank space around them.

    Values are those of scikit-learn: accuracy; precision, recall and F1 of each label (`f1[label]`), 0 where undefined; and
    their plain means over labels (`macro_f1`), which count a rare label as much as a frequent one. With at most
    `MAX_CONFUSION_LABELS` labels also the confusion matrix: `confusion[wanted -> given]`, the number of examples.

    Attributes:
        labels: what may be said; None: the labels of the references. A completion that is none of them is wrong for the label that
            was wanted, and counts against no other. Without `labels`, memory grows with the number of different completions.
    """

    labels: list[str] | None = None

    def __post_init__(self) -> None:
        """Checks the options.

        Raises:
            ValueError: `labels` is not a list of two different texts or more.
        """
        if self.labels is None:
            return
        if not isinstance(self.labels, list) or not all(isinstance(label, str) for label in self.labels):
            raise ValueError(f"`labels` must be a list of texts. Received: {self.labels!r}")
        if len({_normalize(label) for label in self.labels}) < max(2, len(self.labels)):
            raise ValueError(f"`labels` must be at least two, and all different. Received: {self.labels!r}")

    def directions(self) -> dict[str, bool | None]:
        """See `Metric`."""
        names = ["accuracy", "macro_precision", "macro_recall", "macro_f1"]
        for label in self.labels or []:
            names += [f"{kind}[{_normalize(label)}]" for kind in ("precision", "recall", "f1")]
        return dict.fromkeys(names, True)

    def count(self, prediction: Prediction) -> dict[str, float]:
        """See `Metric`."""
        wanted, given = _normalize(prediction.reference), _normalize(prediction.completion)
        if self.labels is not None and given not in map(_normalize, self.labels):
            given = _NO_LABEL
        return {_cell(wanted, given): 1.0}

    def finish(self, sums: Sums) -> dict[str, np.ndarray]:
        """See `Metric`."""
        cells = read_confusion(sums)
        # A model that was not tuned for these labels says anything: a thousand other texts are no thousand labels.
        labels = sorted({wanted for wanted, _ in cells} if self.labels is None else set(map(_normalize, self.labels)))
        cells = _merge_others(cells, frozenset(labels))
        zeros = np.zeros(sums.num_resamples)
        total = sum(cells.values(), zeros)
        right = sum((cells.get((label, label), zeros) for label in labels), zeros)
        values = {"accuracy": divide(right, total)}
        present, kinds = zeros, dict.fromkeys(("precision", "recall", "f1"), zeros)
        for label in labels:
            hits = cells.get((label, label), zeros)
            wanted = sum((count for (reference, _), count in cells.items() if reference == label), zeros)
            given = sum((count for (_, completion), count in cells.items() if completion == label), zeros)
            scores = {
                "precision": divide(hits, given, 0.0),
                "recall": divide(hits, wanted, 0.0),
                "f1": divide(2 * hits, wanted + given, 0.0),
            }
            # A label that a resample lacks is no part of its mean, unless it was asked for.
            counts = np.where((wanted + given > 0) | (self.labels is not None), 1.0, 0.0)
            present = present + counts
            kinds = {kind: kinds[kind] + counts * score for kind, score in scores.items()}
            values |= {f"{kind}[{label}]": score for kind, score in scores.items()}
        if len(labels) <= MAX_CONFUSION_LABELS:
            values |= {f"confusion[{a} -> {b.strip() or NO_LABEL}]": count for (a, b), count in cells.items()}
        empty = np.where(total > 0, 1.0, np.nan)
        return values | {f"macro_{kind}": divide(value, present) * empty for kind, value in kinds.items()}


def read_confusion(sums: Mapping[str, np.ndarray]) -> dict[tuple[str, str], np.ndarray]:
    """Returns how often each label was wanted and each given: the confusion matrix, without its zeros."""
    cells: dict[tuple[str, str], np.ndarray] = {}
    for name, count in sums.items():
        wanted, _, given = name.partition("\t")
        cells[wanted, given] = count
    return cells


def _merge_others(
    cells: Mapping[tuple[str, str], np.ndarray], labels: frozenset[str]
) -> dict[tuple[str, str], np.ndarray]:
    merged: dict[tuple[str, str], np.ndarray] = {}
    for (wanted, given), count in cells.items():
        cell = wanted, given if given in labels else _NO_LABEL
        merged[cell] = merged[cell] + count if cell in merged else count
    return merged


def _cell(wanted: str, given: str) -> str:
    return f"{wanted}\t{given}"


def _normalize(label: str) -> str:
    """In lower case, and with single spaces: no label holds a tab or a line break."""
    return " ".join(label.casefold().split())
