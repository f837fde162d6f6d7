"""What every metric does: the interface between the Evaluator and `components/metrics/`."""

import abc
import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prediction:
    """What one model makes of one example.

    Attributes:
        completion: what it writes after the prompt.
        other_completions: what it writes when it is asked again.
        reference: the answer in the data.
        other_references: answers that are as good.
        prompt: as rendered.
        nll_sum: sum of the losses of the answer's tokens, end token included, in nats.
        token_count: number of these tokens.
        correct_count: how many of them the model ranks first.
        byte_count: bytes of UTF-8 that these tokens stand for; an end token stands for none.
        choices: the answers to choose from.
        choice_nlls: the loss of each as a continuation of the prompt, in nats.
        choice_answers: the places of those that are right.
        columns: text by column, of the columns that the metrics name.
        scores: numbers that something beside the metrics has found, by name (see `components/evaluator/annotate.py`).
    """

    completion: str = ""
    other_completions: tuple[str, ...] = ()
    reference: str = ""
    other_references: tuple[str, ...] = ()
    prompt: str = ""
    nll_sum: float = 0.0
    token_count: float = 0.0
    correct_count: float = 0.0
    byte_count: float = 0.0
    choices: tuple[str, ...] = ()
    choice_nlls: tuple[float, ...] = ()
    choice_answers: tuple[int, ...] = ()
    columns: Mapping[str, str] = dataclasses.field(default_factory=dict)
    scores: Mapping[str, float] = dataclasses.field(default_factory=dict)

    @property
    def completions(self) -> tuple[str, ...]:
        """All that it writes."""
        return (self.completion, *self.other_completions)

    @property
    def references(self) -> tuple[str, ...]:
        """All answers that are right."""
        return (self.reference, *self.other_references)


class Sums(dict[str, np.ndarray]):
    """Sums over examples by name, float64 (resamples,); what was never added is 0."""

    def __init__(self, num_resamples: int):
        super().__init__()
        self.num_resamples = num_resamples

    def __missing__(self, key: str) -> np.ndarray:
        return np.zeros(self.num_resamples)


class Metric(abc.ABC):
    """A metric: a frozen keyword-only dataclass whose fields are its YAML options.

    It is computed from sums over examples alone. So it can be computed on any Beam runner, over any slice, and over
    resamples of the examples, which give its interval.
    """

    reads_completion: ClassVar[bool] = True
    """Whether it needs what the model writes, which costs a generation."""

    def needed_columns(self) -> tuple[str, ...]:
        """Columns of the data that it reads; the run carries them along (`data.slice_columns`, `data.carry_columns`)."""
        return ()

    def needed_choices(self) -> dict[str, Any] | None:
        """Continuations whose losses it needs: `texts` or `column`, and `end_token`; None for none."""
        return None

    @abc.abstractmethod
    def directions(self) -> dict[str, bool | None]:
        """Names of the values that it gives, and whether higher is better; None where better has no meaning."""

    @abc.abstractmethod
    def count(self, prediction: Prediction) -> Mapping[str, float]:
        """What one example adds to each of the sums."""

    @abc.abstractmethod
    def finish(self, sums: Sums) -> dict[str, np.ndarray]:
        """The values, float64 (resamples,) each, from the sums; NaN where there is nothing to measure.

        May hold more names than `directions`: those that only the data know.
        """

    def describe(self) -> str:
        """What one must know to compare a value with another's: library, version, settings; "" where nothing."""
        return ""


class MeanMetric(Metric):
    """Means over examples. Every example counts, also one with an empty completion or reference."""

    @abc.abstractmethod
    def score(self, prediction: Prediction) -> dict[str, float]:
        """The values of one example, under the names of `directions`."""

    def count(self, prediction: Prediction) -> Mapping[str, float]:
        """See `Metric`."""
        return {"examples": 1.0, **self.score(prediction)}

    def finish(self, sums: Sums) -> dict[str, np.ndarray]:
        """See `Metric`."""
        return {name: divide(sums[name], sums["examples"]) for name in self.directions()}


def divide(numerator: np.ndarray, denominator: np.ndarray, empty: float = np.nan) -> np.ndarray:
    """`numerator / denominator`, and `empty` where the denominator is 0."""
    return np.divide(numerator, denominator, out=np.full(np.shape(numerator), empty), where=denominator != 0)
