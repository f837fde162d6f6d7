"""Embedding similarity: do the words of completion and reference mean the same, by an encoder's embeddings?"""

import dataclasses

from components.metrics.metric import MeanMetric, Prediction

VALUES = ("embedding_precision", "embedding_recall", "embedding_f1")


@dataclasses.dataclass(frozen=True, kw_only=True)
class EmbeddingSimilarity(MeanMetric):
    """Cosine similarity of each token to the most similar one of the other text, by the last layer of an encoder.

    BERTScore (Zhang et al., *BERTScore: Evaluating Text Generation with BERT*, ICLR 2020, arXiv 1904.09675) without weights by
    frequency and without rescaling: precision is the mean over the completion's tokens, recall over the reference's; special
    tokens count in neither. Where one of the texts is empty all are 0, and 1 where both are.

    Needs the encoder: a preset whose values are to be compared with others' must be the same.

    Attributes:
        preset: a KerasHub preset of an encoder (BERT, RoBERTa, DeBERTa, ...), with its tokenizer.
        max_length: tokens of a text that count; None: as many as the preset's preprocessor takes.
    """

    preset: str
    max_length: int | None = None

    def __post_init__(self) -> None:
        """Checks the options.

        Raises:
            ValueError: one is out of range.
        """
        if not (isinstance(self.preset, str) and self.preset):
            raise ValueError(f"`preset` must name a preset or its folder. Received: {self.preset!r}")
        if self.max_length is not None and not (type(self.max_length) is int and self.max_length >= 4):
            raise ValueError(f"`max_length` must be a whole number of at least 4. Received: {self.max_length!r}")

    def directions(self) -> dict[str, bool | None]:
        """See `Metric`."""
        return dict.fromkeys(VALUES, True)

    def score(self, prediction: Prediction) -> dict[str, float]:
        """See `MeanMetric`."""
        return {name: prediction.scores[name] for name in VALUES}

    def describe(self) -> str:
        """See `Metric`."""
        return f"last layer of {self.preset}, at most {self.max_length or 'its own number of'} tokens"
