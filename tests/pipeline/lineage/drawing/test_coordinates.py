"""Tests of places within layers."""

import itertools
import random

import pytest

from pipeline.lineage.drawing.coordinates import fit_increasing, place_across
from pipeline.lineage.drawing.layers import make_layers
from pipeline.lineage.drawing.routes import pull_taut


@pytest.mark.parametrize(
    ("targets", "weights", "expected"),
    [
        ([1, 2, 3], [1, 1, 1], [1, 2, 3]),
        ([3, 1], [1, 1], [2, 2]),
        ([3, 1], [3, 1], [2.5, 2.5]),
        ([1, 5, 3, 4], [1, 1, 1, 1], [1, 4, 4, 4]),
        ([4, 3, 2, 1], [1, 1, 1, 1], [2.5] * 4),
        ([], [], []),
    ],
)
def test_the_closest_numbers_that_never_fall(targets, weights, expected):
    assert fit_increasing(targets, weights) == pytest.approx(expected)


def test_a_parent_stands_over_the_middle_of_its_children():
    layers = make_layers(4, [(0, 1), (0, 2), (0, 3)])
    across = place_across(layers, [100.0] * 4, gap=20.0, bend_gap=5.0)
    children = sorted(across[1:])
    assert children == pytest.approx([50.0, 170.0, 290.0], abs=1.0)
    assert across[0] == pytest.approx(170.0, abs=1.0)


def test_a_chain_is_straight():
    layers = make_layers(4, [(0, 1), (1, 2), (2, 3)])
    assert place_across(layers, [100.0] * 4, 20.0, 5.0) == pytest.approx([50.0] * 4)


def test_nodes_keep_their_distance():
    draw = random.Random(3)
    for _ in range(30):
        size = draw.randint(2, 40)
        extents = [draw.choice([40.0, 100.0]) for _ in range(size)]
        links = sorted({tuple(sorted(draw.sample(range(size), 2))) for _ in range(2 * size)})
        layers = make_layers(size, links)
        across = place_across(layers, extents, gap=20.0, bend_gap=8.0)
        taut = pull_taut(layers, across, extents, bend_gap=4.0)
        for order in layers.orders:
            nodes = [point for point in order if point < size]
            for left, right in itertools.pairwise(nodes):
                assert across[right] - across[left] >= (extents[left] + extents[right]) / 2 + 16.0 - 1e-6
            for bend in (point for point in order if point >= size):
                for node in nodes:
                    assert abs(taut[bend] - across[node]) >= extents[node] / 2 - 1e-6, "a line runs through a node"
            assert sorted(order, key=lambda point: across[point]) == order
        assert min(across[node] - extents[node] / 2 for node in range(size)) >= -1e-6


def test_a_line_is_pulled_straight_where_nothing_is_in_its_way():
    layers = make_layers(5, [(0, 1), (1, 2), (2, 3), (3, 4), (0, 4)])
    across = place_across(layers, [100.0] * 5, 20.0, 10.0)
    taut = pull_taut(layers, across, [100.0] * 5, 5.0)
    bends = [taut[bend] for bend in layers.bends[0, 4]]
    # Beside the nodes 1, 2 and 3, at their border, and no farther out than that.
    assert bends == pytest.approx([bends[0]] * 3, abs=0.5)
    assert 50.0 < abs(bends[0] - taut[2]) < 75.0
