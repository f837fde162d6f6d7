"""Compares completions with references by an encoder's embeddings."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import keras_hub
import numpy as np

from components.errors import UserError
from components.local_copies import local_preset
from components.metrics.embedding_similarity import VALUES, EmbeddingSimilarity
from components.metrics.metric import Prediction
from components.text.model_tokenizer import adopt_own_rules

# Texts that are encoded together.
_BATCH = 32


class EmbeddingAnnotator:
    """Predictions of several models for the same examples -> similarities to the reference."""

    def __init__(self, metric: EmbeddingSimilarity):
        """Loads the encoder.

        Raises:
            UserError: It cannot be loaded, or is none.
        """
        try:
            with local_preset(metric.preset) as source:
                self._backbone = keras_hub.models.Backbone.from_preset(source)
                tokenizer = keras_hub.tokenizers.Tokenizer.from_preset(source)
                self._preprocessor = keras_hub.models.TextClassifierPreprocessor.from_preset(source)
                adopt_own_rules(self._preprocessor.tokenizer, source)
        except UserError:
            raise
        except Exception as error:  # every hub raises errors of its own kind
            raise UserError(
                "the preset of embedding_similarity must be an encoder that KerasHub knows, with tokenizer and preprocessor. "
                f"Received: {metric.preset} ({type(error).__name__}: {error})"
            ) from error
        if metric.max_length is not None:
            self._preprocessor.sequence_length = metric.max_length
        self._special = [int(i) for i in tokenizer.special_token_ids]

    def annotate(self, examples: Sequence[Mapping[str, Prediction]]) -> list[dict[str, dict[str, float]]]:
        """Returns scores by model for each example."""
        texts = {text for found in examples for p in found.values() for text in (p.completion, p.reference)}
        vectors = self._embed(sorted(texts))
        return [
            {
                model: dict(zip(VALUES, compare(vectors[p.completion], vectors[p.reference]), strict=True))
                for model, p in found.items()
            }
            for found in examples
        ]

    def _embed(self, texts: Sequence[str]) -> dict[str, np.ndarray]:
        """Unit vectors of each text's tokens, float32 (tokens, width)."""
        found: dict[str, np.ndarray] = {}
        for begin in range(0, len(texts), _BATCH):
            batch = list(texts[begin : begin + _BATCH])
            inputs: dict[str, Any] = self._preprocessor(batch)
            output = self._backbone(inputs, training=False)
            if isinstance(output, dict):
                output = output["sequence_output"]
            output = keras.ops.convert_to_numpy(keras.ops.cast(output, "float32"))
            token_ids = keras.ops.convert_to_numpy(inputs["token_ids"])
            counts = keras.ops.convert_to_numpy(inputs["padding_mask"]).astype(bool) & ~np.isin(
                token_ids, self._special
            )
            for text, vectors, counted in zip(batch, output, counts, strict=True):
                kept = vectors[counted]
                found[text] = kept / np.maximum(np.linalg.norm(kept, axis=-1, keepdims=True), 1e-12)
        return found


def compare(completion: np.ndarray, reference: np.ndarray) -> tuple[float, float, float]:
    """Returns precision, recall and F1 of greedy matching.

    Args:
        completion: Unit vectors, (tokens, width).
        reference: Unit vectors, (tokens, width).
    """
    if not len(completion) or not len(reference):
        both = float(len(completion) == len(reference))
        return both, both, both
    similarity = completion @ reference.T
    precision, recall = float(similarity.max(axis=1).mean()), float(similarity.max(axis=0).mean())
    total = precision + recall
    return precision, recall, 2 * precision * recall / total if total else 0.0
