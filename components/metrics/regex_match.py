"""Regex match: share of the completions in which a pattern is found."""

import dataclasses
import re

from components.metrics.metric import MeanMetric, Prediction


@dataclasses.dataclass(frozen=True, kw_only=True)
class RegexMatch(MeanMetric):
    """Share of the completions in which Python's `re.search` finds the pattern.

    Attributes:
        pattern: the pattern; anchor it with `^` and `$` if the whole completion must match.
    """

    pattern: str

    def __post_init__(self) -> None:
        """Checks the pattern.

        Raises:
            ValueError: it is no regular expression.
        """
        try:
            re.compile(self.pattern)
        except (re.error, TypeError) as error:
            raise ValueError(f"`pattern` must be a regular expression ({error}). Received: {self.pattern!r}") from error

    def directions(self) -> dict[str, bool | None]:
        """See `Metric`."""
        return {"regex_match": True}

    def score(self, prediction: Prediction) -> dict[str, float]:
        """See `MeanMetric`."""
        return {"regex_match": float(re.search(self.pattern, prediction.completion) is not None)}
