"""Regex match: share of the completions in which a pattern is found."""

import dataclasses

from components.metrics.metric import MeanMetric, Prediction
from components.metrics.patterns import check_pattern, is_found


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
        check_pattern(self.pattern)

    def directions(self) -> dict[str, bool | None]:
        """See `Metric`."""
        return {"regex_match": True}

    def score(self, prediction: Prediction) -> dict[str, float]:
        """See `MeanMetric`."""
        return {"regex_match": float(is_found(self.pattern, prediction.completion))}
