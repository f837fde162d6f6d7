"""Counts over cleaned tokens: made a batch at a time, merged in any order, bounded in size."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from components.cleaning_report.tokens import CleanedExample

BIN_WIDTH = 0.05  # nats
NUM_EXAMPLES = 50
_FURTHEST = 25.0  # influences beyond it, in nats, are counted in the last bins
_MAX_SLICE_VALUES = 1000
OTHERS = "(others)"


@dataclass
class Summary:
    """Counts over some cleaned examples.

    Attributes:
        num_examples: Examples.
        num_without_target: Of these, the ones of which no token is kept.
        num_kept: Tokens kept.
        num_dropped: Tokens dropped.
        influence_sum: Of all tokens, nats.
        lowest: Smallest influence.
        highest: Largest influence.
        lowest_kept: Smallest influence of a kept token, and how many have it.
        highest_dropped: Largest influence of a dropped token, and how many have it.
        bins: [kept, dropped] by bin, `floor(influence / BIN_WIDTH)`.
        slices: [examples, kept, dropped] by column and value.
        tokens: [kept, dropped] by token id.
        sample: `NUM_EXAMPLES` examples by the hash of their id, the smallest hashes.
    """

    num_examples: int = 0
    num_without_target: int = 0
    num_kept: int = 0
    num_dropped: int = 0
    influence_sum: float = 0.0
    lowest: float = np.inf
    highest: float = -np.inf
    lowest_kept: tuple[float, int] = (np.inf, 0)
    highest_dropped: tuple[float, int] = (-np.inf, 0)
    bins: dict[int, np.ndarray] = field(default_factory=dict)
    slices: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    tokens: dict[int, np.ndarray] = field(default_factory=dict)
    sample: dict[str, CleanedExample] = field(default_factory=dict)

    @property
    def num_tokens(self) -> int:
        """Response tokens."""
        return self.num_kept + self.num_dropped

    @property
    def num_tied(self) -> int:
        """Tokens whose influence is exactly the lowest that is kept."""
        value, count = self.lowest_kept
        return count + (self.highest_dropped[1] if self.highest_dropped[0] == value else 0)


def summarize(examples: Iterable[CleanedExample]) -> Summary:
    """Counts a batch."""
    result = Summary()
    for example in examples:
        kept = np.stack([example.is_kept, ~example.is_kept], axis=1).astype(np.int64)  # (tokens, 2)
        num_kept, num_dropped = (int(n) for n in kept.sum(axis=0))
        result.num_examples += 1
        result.num_without_target += num_kept == 0
        result.num_kept += num_kept
        result.num_dropped += num_dropped
        result.influence_sum += float(example.influence.sum(dtype=np.float64))
        for column, value in example.slices.items():
            _add(result.slices.setdefault(column, {}), value, np.array([1, num_kept, num_dropped]))
        bounded = np.clip(example.influence.astype(np.float64), -_FURTHEST, _FURTHEST)
        for bin_index, token_id, counts in zip(
            np.floor(bounded / BIN_WIDTH).astype(int).tolist(), example.token_ids.tolist(), kept, strict=True
        ):
            _add(result.bins, bin_index, counts)
            _add(result.tokens, token_id, counts)
        if len(example.influence):
            result.lowest = min(result.lowest, float(example.influence.min()))
            result.highest = max(result.highest, float(example.influence.max()))
        result.lowest_kept = _merge_extremes(min, result.lowest_kept, _count_extreme(min, example, example.is_kept))
        result.highest_dropped = _merge_extremes(
            max, result.highest_dropped, _count_extreme(max, example, ~example.is_kept)
        )
        result.sample[_sample_key(example)] = example
    result.sample = _cut_sample(result.sample)
    return result


def merge(summaries: Iterable[Summary]) -> Summary:
    """Adds summaries up."""
    result = Summary()
    for other in summaries:
        for name in ("num_examples", "num_without_target", "num_kept", "num_dropped", "influence_sum"):
            setattr(result, name, getattr(result, name) + getattr(other, name))
        result.lowest, result.highest = min(result.lowest, other.lowest), max(result.highest, other.highest)
        result.lowest_kept = _merge_extremes(min, result.lowest_kept, other.lowest_kept)
        result.highest_dropped = _merge_extremes(max, result.highest_dropped, other.highest_dropped)
        for name in ("bins", "tokens"):
            for key, counts in getattr(other, name).items():
                _add(getattr(result, name), key, counts)
        for column, values in other.slices.items():
            own = result.slices.setdefault(column, {})
            for value, counts in values.items():
                _add(own, value if value in own or len(own) < _MAX_SLICE_VALUES else OTHERS, counts)
        result.sample = _cut_sample(result.sample | other.sample)
    return result


def list_tokens(tokens: Mapping[int, np.ndarray], column: int, limit: int) -> list[tuple[int, int, int]]:
    """Returns (token id, kept, dropped) of the tokens with the highest count in `column` (0: kept, 1: dropped)."""
    counts = Counter({token_id: int(c[column]) for token_id, c in tokens.items() if c[column]})
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:limit]
    return [(token_id, int(tokens[token_id][0]), int(tokens[token_id][1])) for token_id, _ in ranked]


def _add(counts: dict[Any, np.ndarray], key: Any, more: np.ndarray) -> None:
    counts[key] = counts[key] + more if key in counts else more.copy()


def _count_extreme(extreme: Any, example: CleanedExample, mask: np.ndarray) -> tuple[float, int]:
    values = example.influence[mask]
    if not len(values):
        return (np.inf, 0) if extreme is min else (-np.inf, 0)
    value = float(extreme(values))
    return value, int((values == np.float32(value)).sum())


def _merge_extremes(extreme: Any, first: tuple[float, int], second: tuple[float, int]) -> tuple[float, int]:
    value = extreme(first[0], second[0])
    return value, sum(count for held, count in (first, second) if held == value)


def _sample_key(example: CleanedExample) -> str:
    return hashlib.sha256(example.example_id.encode()).hexdigest()


def _cut_sample(sample: dict[str, CleanedExample]) -> dict[str, CleanedExample]:
    return {key: sample[key] for key in sorted(sample)[:NUM_EXAMPLES]}
