"""Contains all: share of the completions that hold every one of some texts."""

import dataclasses

from components.metrics.metric import MeanMetric, Prediction


@dataclasses.dataclass(frozen=True, kw_only=True)
class ContainsAll(MeanMetric):
    """Share of the completions that hold each of `texts`; without `texts`, that hold the reference.

    Attributes:
        texts: what must be there; None: the reference, without blank space around it. An empty one is always there.
        ignore_case: whether `Yes` is `yes`.
    """

    texts: list[str] | None = None
    ignore_case: bool = True

    def __post_init__(self) -> None:
        """Checks the options.

        Raises:
            ValueError: `texts` is not a list of texts, or empty.
        """
        is_list = isinstance(self.texts, list) and self.texts and all(isinstance(text, str) for text in self.texts)
        if self.texts is not None and not is_list:
            raise ValueError(f"`texts` must be a list of at least one text. Received: {self.texts!r}")

    def directions(self) -> dict[str, bool | None]:
        """See `Metric`."""
        return {"contains_all": True}

    def score(self, prediction: Prediction) -> dict[str, float]:
        """See `MeanMetric`."""
        fold = str.casefold if self.ignore_case else str
        wanted = [prediction.reference.strip()] if self.texts is None else self.texts
        return {"contains_all": float(all(fold(text) in fold(prediction.completion) for text in wanted))}
