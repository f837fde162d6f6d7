"""Multiple choice: which of some answers the model finds most probable."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, ClassVar

from components.metrics.metric import MeanMetric, Prediction


@dataclasses.dataclass(frozen=True, kw_only=True)
class MultipleChoice(MeanMetric):
    """Whether the answer of the smallest loss after the prompt is a right one. Nothing is generated.

    As in lm-evaluation-harness: `choice_accuracy` (its `acc`) by the loss of the whole answer, which favours short ones;
    `choice_accuracy_norm` (`acc_norm`) by the loss a character; `choice_mass` (`mc2` of TruthfulQA; Lin et al., arXiv
    2109.07958), the probability of the right answers by that of all. The first of equals is chosen.

    Attributes:
        choices: the answers, one of which is each example's reference; a reference that is none of them is answered wrong.
        column: instead of `choices`, the column that holds each example's own: a list, as JSON.
        end_token: whether the model must also end there, so that "yes" is not favoured over "yes, but".
    """

    choices: list[str] | None = None
    column: str | None = None
    end_token: bool = True

    reads_completion: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Checks the options.

        Raises:
            ValueError: neither or both of `choices` and `column`, or they are not what they must be.
        """
        if self.choices is not None and not (
            isinstance(self.choices, list)
            and len(self.choices) > 1
            and all(isinstance(choice, str) and choice for choice in self.choices)
            and len(set(self.choices)) == len(self.choices)
        ):
            raise ValueError(f"`choices` must be at least two texts, all different. Received: {self.choices!r}")
        if self.column is not None and not (isinstance(self.column, str) and self.column):
            raise ValueError(f"`column` must be the name of a column. Received: {self.column!r}")
        if not isinstance(self.end_token, bool):
            raise ValueError(f"`end_token` must be true or false. Received: {self.end_token!r}")
        if (self.choices is None) == (self.column is None):
            raise ValueError("needs either `choices` or `column`.")

    def needed_columns(self) -> tuple[str, ...]:
        """See `Metric`."""
        return (self.column,) if self.column else ()

    def needed_choices(self) -> dict[str, Any]:
        """See `Metric`."""
        return {"texts": self.choices, "column": self.column, "end_token": self.end_token}

    def directions(self) -> dict[str, bool | None]:
        """See `Metric`."""
        return {"choice_accuracy": True, "choice_accuracy_norm": True, "choice_mass": True}

    def score(self, prediction: Prediction) -> dict[str, float]:
        """See `MeanMetric`."""
        losses = prediction.choice_nlls
        if not all(map(math.isfinite, losses)):
            return dict.fromkeys(self.directions(), math.nan)
        by_length = [loss / max(len(choice), 1) for loss, choice in zip(losses, prediction.choices, strict=True)]
        least = min(losses, default=0.0)
        masses = [math.exp(least - loss) for loss in losses]
        right = sum(masses[place] for place in prediction.choice_answers)
        return {
            "choice_accuracy": float(_find_least(losses) in prediction.choice_answers),
            "choice_accuracy_norm": float(_find_least(by_length) in prediction.choice_answers),
            "choice_mass": right / sum(masses) if masses else 0.0,
        }


def _find_least(values: Sequence[float]) -> int:
    return min(range(len(values)), key=values.__getitem__, default=-1)
