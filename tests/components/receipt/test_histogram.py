"""Quantiles: exact on small numbers, within the stated error on large ones."""

import math

import numpy as np
import pytest

from components.receipt.histogram import RELATIVE_ERROR, Histogram


def make_histogram(numbers):
    histogram = Histogram()
    for number in numbers:
        histogram.add(int(number))
    return histogram


def rank(numbers, percent):
    """The definition: the smallest number that so many percent do not exceed."""
    return int(sorted(numbers)[max(math.ceil(percent * len(numbers) / 100), 1) - 1])


def test_exact_below_a_thousand():
    numbers = np.random.default_rng(0).integers(0, 1024, 777).tolist()
    histogram = make_histogram(numbers)
    assert [histogram.quantile(p) for p in range(101)] == [rank(numbers, p) for p in range(101)]
    assert histogram.describe() == {
        "min": min(numbers),
        "p5": rank(numbers, 5),
        "p25": rank(numbers, 25),
        "median": rank(numbers, 50),
        "p75": rank(numbers, 75),
        "p95": rank(numbers, 95),
        "max": max(numbers),
        "mean": pytest.approx(np.mean(numbers)),
    }


def test_bounded_error_and_size_above():
    numbers = (10 ** np.random.default_rng(1).uniform(0, 6, 200_000)).astype(int).tolist()
    histogram = make_histogram(numbers)
    assert len(histogram.counts) < 11_264
    for percent in range(1, 100):
        exact, found = rank(numbers, percent), histogram.quantile(percent)
        assert exact * (1 - RELATIVE_ERROR) < found <= exact
    assert (histogram.quantile(0), histogram.quantile(100)) == (min(numbers), max(numbers))
    assert histogram.total == sum(numbers)


def test_merging_is_counting_together():
    first, second = [3, 5000, 7], [2, 5001, 1_000_000]
    merged = make_histogram(first)
    merged.merge(make_histogram(second))
    merged.merge(Histogram())
    assert merged == make_histogram(first + second)
    assert merged.count_up_to(7) == 3


def test_without_numbers_there_is_nothing_to_say():
    assert set(Histogram().describe().values()) == {None}
