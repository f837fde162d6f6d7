import itertools

import numpy as np
import pytest

from components.trainer.lengths import count_positions, plan_lengths


def test_positions_by_eye():
    # 3 examples of 2, 1 of 5, 2 of 9: batches of 2 padded to 4 and 10.
    counts = [0, 0, 3, 0, 0, 1, 0, 0, 0, 2]
    assert count_positions(counts, 2, (4, 10)) == 2 * 2 * 4 + 2 * 2 * 10
    assert count_positions(counts, 1, (4, 10)) == 3 * 4 + 3 * 10


def test_a_length_that_saves_nothing_is_not_used():
    counts = np.bincount([8] * 4 + [16] * 4)
    assert plan_lengths(counts, 4, 64, 24) == (8, 16)
    assert plan_lengths(counts, 8, 64, 24) == (16,)  # two half empty batches cost more than one
    assert plan_lengths(counts, 4, 64, 1) == (16,)


def test_no_length_is_above_the_most():
    assert plan_lengths(np.bincount([61]), 1, 62, 24) == (62,)
    assert plan_lengths([0, 0, 0], 1, 62, 24) == (62,)


@pytest.mark.parametrize("seed", range(40))
def test_no_other_choice_computes_fewer_positions(seed):
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 6, 50) * (rng.random(50) < 0.3)
    counts[int(rng.integers(1, 50))] += 1
    batch_size, num_lengths = (int(n) for n in rng.integers(1, 9, 2))
    longest = int(np.flatnonzero(counts).max())
    lengths = plan_lengths(counts, batch_size, 60, num_lengths)
    assert lengths[-1] >= longest
    assert len(lengths) <= num_lengths
    assert list(lengths) == sorted(set(lengths))
    candidates = range(8, 57, 8)
    last = min(-(-longest // 8) * 8, 60)
    others = [
        (*choice, last)
        for size in range(num_lengths)
        for choice in itertools.combinations([c for c in candidates if c < last], size)
    ]
    best = min(count_positions(counts, batch_size, other) for other in others)
    assert count_positions(counts, batch_size, lengths) == best


def test_of_evenly_spread_lengths_one_in_25_is_padding():
    """Steps of one size are best here: they waste half a step of each example, 1 / (24 + 1) of the positions."""
    counts = np.ones(32768, int)
    lengths = plan_lengths(counts, 16, 32768, 24)
    assert 1 - np.arange(32768).sum() / count_positions(counts, 16, lengths) == pytest.approx(1 / 25, abs=5e-4)
