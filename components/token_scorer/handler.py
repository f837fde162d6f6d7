"""The influence of tokens as a Beam `ModelHandler`: two models, loaded once a worker, over batches of similar length."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import tensorflow as tf
from apache_beam.ml.inference.base import ModelHandler, PredictionResult
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from components.errors import UserError
from components.splits import list_target_columns
from components.text import features

# Examples whose lengths differ by less than this factor are scored together: a quarter of a batch is padding at worst.
_LENGTH_RATIO = 1.25


class ScoringExample(NamedTuple):
    """What scoring needs of a tokenized example, and the example itself.

    Attributes:
        serialized: The `tf.train.Example`.
        token_ids: int32 (n,).
        target_columns: int32, places of the response tokens that have a token before them.
    """

    serialized: bytes
    token_ids: np.ndarray
    target_columns: np.ndarray


def parse_example(serialized: bytes) -> ScoringExample:
    """Returns a tokenized example, ready to be scored."""
    example = tf.train.Example.FromString(serialized)
    token_ids = np.array(example.features.feature[features.TOKEN_IDS].int64_list.value, np.int32)
    return ScoringExample(serialized, token_ids, list_target_columns(example).astype(np.int32))


class BatchByLength(beam.DoFn):
    """Serialized tokenized examples to lists of `ScoringExample` of similar length.

    Beam's own batching by length sorts or shuffles all that there is; this one holds one unfinished batch for each length.
    """

    def __init__(self, batch_size: int):
        self._batch_size = batch_size

    def start_bundle(self) -> None:
        """Starts without any unfinished batch."""
        self._waiting: dict[int, list[ScoringExample]] = {}

    def process(self, serialized: bytes) -> Iterator[list[ScoringExample]]:
        """Yields a batch when it is full."""
        example = parse_example(serialized)
        bucket = int(math.log(max(len(example.token_ids), 1), _LENGTH_RATIO))
        batch = self._waiting.setdefault(bucket, [])
        batch.append(example)
        if len(batch) == self._batch_size:
            yield self._waiting.pop(bucket)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        """Yields the batches that have not become full."""
        window = GlobalWindow()
        waiting, self._waiting = self._waiting, {}
        for batch in waiting.values():
            yield WindowedValue(batch, window.max_timestamp(), [window])


class InfluenceModels:
    """Base and reference model, ready to score."""

    def __init__(self, base: str, reference: str, dtype: str):
        """Loads both.

        Args:
            base: Preset of the base model.
            reference: Preset of the reference model.
            dtype: Dtype or mixed policy of the layers.

        Raises:
            UserError: If one cannot be loaded, or their tokens are not the same.
        """
        from components.token_scorer.losses import TokenLosses
        from components.trainer.model import load_model
        from components.trainer.model_card import hash_tokenizer

        models = [load_model(preset, dtype) for preset in (base, reference)]
        sizes = [int(model.backbone.vocabulary_size) for model in models]
        if sizes[0] != sizes[1]:
            raise UserError(
                "the reference model must have the vocabulary of the base model: their losses are subtracted token by "
                f"token. Received: {sizes[0]} tokens ({base}) and {sizes[1]} ({reference})."
            )
        if len({hash_tokenizer(model.preprocessor.tokenizer) for model in models}) > 1:
            raise UserError(
                "the reference model must have the tokenizer of the base model: their losses are subtracted token by "
                f"token. Received: different tokenizers in {base} and {reference}."
            )
        limits = [getattr(model.backbone, "max_sequence_length", None) for model in models]
        self.max_length = min((limit for limit in limits if limit is not None), default=None)
        self._base, self._reference = (TokenLosses(model) for model in models)

    def score(self, examples: Sequence[ScoringExample]) -> list[np.ndarray]:
        """Returns loss under the base minus loss under the reference, float32 (number of targets,) for each example.

        Raises:
            UserError: If an example is too long for a model, or an influence is not a number.
        """
        longest = max(len(example.token_ids) for example in examples)
        if self.max_length is not None and longest > self.max_length:
            raise UserError(
                f"text.max_length must be at most {self.max_length}, the positions of the base and the reference model. "
                f"Received: an example of {longest} tokens."
            )
        # A position predicts the token after it: the last token is no input.
        width = max(longest - 1, 1)
        token_ids = np.zeros((len(examples), width), np.int32)
        padding_mask = np.zeros_like(token_ids)
        padding_mask[:, 0] = 1  # attention over no position at all is not defined
        positions, targets = [], []
        for row, example in enumerate(examples):
            inputs = example.token_ids[:-1]
            token_ids[row, : len(inputs)] = inputs
            padding_mask[row, : len(inputs)] = 1
            positions.append(row * width + example.target_columns - 1)
            targets.append(example.token_ids[example.target_columns])
        counts = [len(p) for p in positions]
        if not sum(counts):
            return [np.zeros(0, np.float32) for _ in examples]
        arguments = token_ids, padding_mask, np.concatenate(positions), np.concatenate(targets)
        influence = self._base(*arguments) - self._reference(*arguments)
        result = np.split(influence, np.cumsum(counts)[:-1])
        for example, values in zip(examples, result, strict=True):
            if not np.isfinite(values).all():
                name = tf.train.Example.FromString(example.serialized).features.feature[features.EXAMPLE_ID]
                raise UserError(
                    f"every loss must be finite. Received: {values} in example {name.bytes_list.value}. Set model.dtype to "
                    "float32 or mixed_bfloat16, or take another reference model."
                )
        return result


class InfluenceHandler(ModelHandler[list[ScoringExample], PredictionResult, InfluenceModels]):
    """Scores batches of examples; the result's `inference` is what `InfluenceModels.score` returns."""

    def __init__(self, base: str, reference: str, dtype: str):
        super().__init__()
        self._models = (base, reference, dtype)

    def load_model(self) -> InfluenceModels:
        """Loads both models; Beam calls this once a worker."""
        return InfluenceModels(*self._models)

    def run_inference(
        self,
        batch: Sequence[list[ScoringExample]],
        model: InfluenceModels,
        inference_args: dict[str, Any] | None = None,
    ) -> Iterable[PredictionResult]:
        """Scores each list of examples as one batch."""
        for examples in batch:
            yield PredictionResult(examples, model.score(examples))

    def batch_elements_kwargs(self) -> dict[str, int]:
        """Elements are batches already."""
        return {"min_batch_size": 1, "max_batch_size": 1}

    def get_num_bytes(self, batch: Sequence[list[ScoringExample]]) -> int:
        """Size of the token ids, for Beam's metrics."""
        return sum(example.token_ids.nbytes for examples in batch for example in examples)
