import numpy as np
import pytest

from components.trainer.target_positions import make_budget, select_targets


def test_targets_come_first_in_their_order_and_the_rest_weighs_nothing():
    targets = np.arange(12, dtype="int32").reshape(2, 6)
    weight = np.float32([[0, 1, 0, 0.5, 0, 0], [1, 0, 0, 0, 0, 2]])
    positions, picked, weights = (array.numpy() for array in select_targets(targets, weight, 3))
    np.testing.assert_array_equal(positions, [[1, 3, 0], [0, 5, 1]])
    np.testing.assert_array_equal(picked, [[1, 3, 0], [6, 11, 7]])
    np.testing.assert_array_equal(weights, [[1, 0.5, 0], [1, 2, 0]])


def test_a_batch_above_its_budget_gets_room_for_all_positions():
    weight = np.float32([[1, 1, 1, 0], [0, 0, 0, 1]])
    positions, _, weights = select_targets(np.zeros((2, 4), "int32"), weight, 2)
    assert positions.shape == (2, 4)
    np.testing.assert_array_equal(weights.numpy().sum(1), [3, 1])


def test_budget():
    # 10 examples of exactly 6 targets: no spread; 8 rows of 64 columns.
    assert make_budget(10, 60, 360, num_rows=8, length=64) == 48
    # Targets of 0 and 12 in turn have deviation 6: 48 + 4 * 6 * sqrt(8) = 115.9.
    assert make_budget(10, 60, 720, num_rows=8, length=64) == 128
    # Nothing to save.
    assert make_budget(10, 60, 360, num_rows=8, length=6) == 48
    assert make_budget(0, 0, 0, num_rows=8, length=6) == 48


@pytest.mark.parametrize("share", [0.1, 0.6])
def test_hardly_a_batch_exceeds_its_budget(share):
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 65, 4000)
    counts = rng.binomial(lengths, share)
    budget = make_budget(len(counts), counts.sum(), (counts**2).sum(), num_rows=16, length=64)
    batches = counts.reshape(-1, 16).sum(1)
    assert (batches > budget).sum() <= 1
    assert budget < 16 * 64 * 0.75
