"""JSON validity and JSON match, for structured answers."""

import dataclasses
import json
from typing import Any

from components.metrics.metric import MeanMetric, Prediction

_INVALID = object()


@dataclasses.dataclass(frozen=True, kw_only=True)
class JsonMatch(MeanMetric):
    """Shares of the examples whose completion is JSON (RFC 8259), and that is the same JSON as the reference.

    The same: objects whatever the order of their keys, numbers by value. A reference that is not JSON is matched by nothing.
    """

    def directions(self) -> dict[str, bool | None]:
        """See `Metric`."""
        return {"json_valid": True, "json_match": True}

    def score(self, prediction: Prediction) -> dict[str, float]:
        """See `MeanMetric`."""
        completion, reference = _parse(prediction.completion), _parse(prediction.reference)
        valid = completion is not _INVALID
        try:
            same = valid and _is_same(completion, reference)
        except RecursionError:  # what is nested more deeply than Python can compare
            same = False
        return {"json_valid": float(valid), "json_match": float(same)}


def _parse(text: str) -> Any:
    def refuse(name: str) -> None:
        raise ValueError(f"{name} is no JSON")

    try:
        return json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError):
        return _INVALID


def _is_same(a: Any, b: Any) -> bool:
    """Python takes True for 1."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_is_same(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_is_same, a, b))
    return bool(a == b)
