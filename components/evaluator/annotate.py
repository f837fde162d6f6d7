"""What some metrics need beside predictions: an encoder's similarities, a judge's opinion. Found once an example, before TFMA."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import apache_beam as beam
from apache_beam.utils import shared
from tensorflow_model_analysis import constants

from components.metrics.embedding_similarity import EmbeddingSimilarity
from components.metrics.judge import Judge
from components.metrics.metric import Metric, Prediction

_BATCH = 32


class Annotator(Protocol):
    """Finds scores."""

    def annotate(self, examples: list[Mapping[str, Prediction]]) -> list[dict[str, dict[str, float]]]:
        """Returns scores by model for each example."""


def needs_annotation(metrics: Mapping[str, Metric]) -> bool:
    """Whether a metric reads scores."""
    return any(isinstance(metric, Judge | EmbeddingSimilarity) for metric in metrics.values())


def make_annotators(metrics: Mapping[str, Metric], candidate: str, other: str, cache: str) -> list[Annotator]:
    """Returns what finds the scores that the metrics read.

    Args:
        metrics: By name.
        candidate: Name of the model that is judged.
        other: Name of the one that it is compared with.
        cache: Folder of a judge's replies.

    Raises:
        UserError: One of them cannot be had.
    """
    annotators: list[Annotator] = []
    for metric in metrics.values():
        if isinstance(metric, Judge):
            from components.judge.annotator import JudgeAnnotator
            from components.judge.clients import make_client

            annotators.append(JudgeAnnotator(metric, make_client(metric, cache), candidate, other))
        elif isinstance(metric, EmbeddingSimilarity):
            from components.embedding.annotator import EmbeddingAnnotator

            annotators.append(EmbeddingAnnotator(metric))
    return annotators


class Annotate(beam.PTransform):
    """Extracts -> extracts whose predictions have the scores."""

    def __init__(self, metrics: Mapping[str, Metric], candidate: str, other: str, cache: str):
        """Sets it up; see `make_annotators`."""
        super().__init__()
        self._arguments = (metrics, candidate, other, cache)

    def expand(self, extracts: Any) -> Any:
        """Returns extracts."""
        return (
            extracts
            | "Batch" >> beam.BatchElements(min_batch_size=_BATCH, max_batch_size=_BATCH)
            | "Annotate" >> beam.ParDo(_AnnotateDoFn(self._arguments, shared.Shared()))
        )


class _AnnotateDoFn(beam.DoFn):
    def __init__(self, arguments: tuple[Any, ...], handle: shared.Shared):
        self._arguments = arguments
        self._handle = handle

    def setup(self) -> None:
        self._annotators = self._handle.acquire(lambda: _Annotators(make_annotators(*self._arguments))).all

    def process(self, batch: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        examples = [dict(extracts[constants.PREDICTIONS_KEY]) for extracts in batch]
        scores: list[dict[str, dict[str, float]]] = [{model: {} for model in found} for found in examples]
        for annotator in self._annotators:
            for into, found in zip(scores, annotator.annotate(examples), strict=True):
                for model, values in found.items():
                    into[model] |= values
        for extracts, found, values in zip(batch, examples, scores, strict=True):
            annotated = {model: dataclasses.replace(p, scores=values[model]) for model, p in found.items()}
            yield {**extracts, constants.PREDICTIONS_KEY: annotated}


class _Annotators:
    """Beam keeps weak references, which a list cannot have."""

    def __init__(self, annotators: list[Annotator]):
        self.all = annotators
