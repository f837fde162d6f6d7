"""Which lengths batches are padded to."""

from collections.abc import Sequence

import numpy as np

# Matrix units work in tiles of 8; more candidates than this change padding by less than half a percent.
_MULTIPLE = 8
_MAX_CANDIDATES = 512


def plan_lengths(
    examples_by_length: Sequence[int], batch_size: int, max_length: int, num_lengths: int, cost_of_length: float = 0.0
) -> tuple[int, ...]:
    """Chooses the lengths with which an epoch costs least: by the positions that it computes, and by the lengths themselves.

    Batches hold examples of one padded length, and the last batch of a length is filled up with empty rows, so `n` examples
    padded to `L` cost `ceil(n / batch_size) * batch_size * L` positions. The minimum over all choices of at most
    `num_lengths` lengths is found by dynamic programming over multiples of 8.

    Args:
        examples_by_length: number of examples of 0, 1, 2, ... positions.
        batch_size: examples of a batch.
        max_length: the longest length there may be; no example is longer.
        num_lengths: most lengths; each one is a shape that is compiled once.
        cost_of_length: positions of an epoch that one more length must save.

    Returns:
        Increasing lengths, the last of them no shorter than the longest example.
    """
    counts = np.asarray(examples_by_length, np.int64)
    multiple = max(_MULTIPLE, -(-max_length // _MAX_CANDIDATES))
    used = np.flatnonzero(counts)
    ends = np.unique(np.minimum(-(-np.maximum(used, 1) // multiple) * multiple, max_length))
    if not len(ends):
        return (max_length,)
    below = np.concatenate([[0], np.cumsum(counts)[np.minimum(ends, len(counts) - 1)]])  # examples up to each end
    # cost[j]: fewest positions for the examples up to end j, with exactly as many lengths as rounds so far.
    cost = np.full(len(ends) + 1, np.inf)
    cost[0] = 0
    choices: list[np.ndarray] = []
    costs: list[float] = []
    for _ in range(min(num_lengths, len(ends))):
        new, choice = np.full_like(cost, np.inf), np.zeros(len(cost), int)
        for j in range(1, len(cost)):
            batches = -(-(below[j] - below[:j]) // batch_size)
            total = cost[:j] + batches * batch_size * ends[j - 1]
            choice[j] = int(total.argmin())
            new[j] = total[choice[j]]
        cost = new
        choices.append(choice)
        costs.append(cost[-1])
    best = int(np.argmin(costs + cost_of_length * np.arange(len(costs)))) + 1  # argmin: the fewest lengths of the best
    lengths, j = [], len(ends)
    for choice in reversed(choices[:best]):
        lengths.append(int(ends[j - 1]))
        j = choice[j]
    return tuple(reversed(lengths))


def count_positions(examples_by_length: Sequence[int], batch_size: int, lengths: Sequence[int]) -> int:
    """Positions that an epoch computes, padding and filled up rows included."""
    counts = np.asarray(examples_by_length, np.int64)
    bucket = np.searchsorted(lengths, np.arange(len(counts)))
    of_bucket = np.bincount(bucket, counts, minlength=len(lengths))[: len(lengths)].astype(np.int64)
    return int((-(-of_bucket // batch_size) * batch_size * np.asarray(lengths)).sum())
