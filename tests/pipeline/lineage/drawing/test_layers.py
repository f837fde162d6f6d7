"""Tests of layers and orders."""

import itertools
import random

import pytest

from pipeline.lineage.drawing import layers as layers_module
from pipeline.lineage.drawing.layers import assign_layers, count_crossings, make_layers


def test_each_node_stands_behind_all_that_lead_to_it():
    assert assign_layers(4, [(0, 1), (1, 2), (0, 2), (2, 3)]) == [0, 1, 2, 3]


def test_what_nothing_leads_to_moves_to_where_it_is_read():
    # 0 > 1 > 2 > 3, and 4 is read by 3 and 5 behind it: first it stood in layer 0.
    assert assign_layers(6, [(0, 1), (1, 2), (2, 3), (4, 3), (3, 5), (4, 5)])[4] == 2


def test_crossings_are_counted():
    after = [[3], [2], [], []]
    assert count_crossings([0, 1], [2, 3], after) == 1
    assert count_crossings([1, 0], [2, 3], after) == 0
    # Links that share an end do not cross.
    assert count_crossings([0, 1], [2], [[2], [2], []]) == 0


def test_crossings_are_undone():
    layers = make_layers(6, [(0, 5), (1, 4), (2, 3)])
    after = [[5], [4], [3], [], [], []]
    assert count_crossings(*layers.orders, after) == 0


def test_long_edges_bend_in_every_layer_between():
    layers = make_layers(4, [(0, 1), (1, 2), (2, 3), (0, 3)])
    assert len(layers.bends[0, 3]) == 2
    assert [len(order) for order in layers.orders] == [1, 2, 2, 1]
    layer_of = {point: index for index, order in enumerate(layers.orders) for point in order}
    assert [layer_of[bend] for bend in layers.bends[0, 3]] == [1, 2], "from the source to the target"


@pytest.mark.parametrize(
    "links", [[(0, 0)], [(0, 1), (1, 0)], [(0, 1), (1, 2), (2, 0)], [(0, 1), (1, 2), (2, 3), (3, 1), (0, 3)]]
)
def test_cycles_are_drawn(links):
    layers = make_layers(4, links)
    assert sorted(point for order in layers.orders for point in order if point < 4) == [0, 1, 2, 3]


def test_the_bends_of_an_edge_that_closes_a_cycle_run_from_its_source():
    layers = make_layers(4, [(0, 1), (1, 2), (2, 3), (3, 0)])
    layer_of = {point: index for index, order in enumerate(layers.orders) for point in order}
    assert [layer_of[bend] for bend in layers.bends[3, 0]] == [2, 1]


def test_any_graph_keeps_all_nodes_and_links_neighbouring_layers():
    draw = random.Random(7)
    for _ in range(50):
        size = draw.randint(1, 30)
        links = [(draw.randrange(size), draw.randrange(size)) for _ in range(2 * size)]
        layers = make_layers(size, links)
        layer_of = {point: index for index, order in enumerate(layers.orders) for point in order}
        assert set(range(size)) <= layer_of.keys()
        assert all(layer_of[target] == layer_of[source] + 1 for source, target in layers.links)
        assert all(layers.orders), "no layer is empty"


def test_sweeps_only_ever_undo_crossings(monkeypatch):
    def count(links, num_sweeps):
        monkeypatch.setattr(layers_module, "_NUM_SWEEPS", num_sweeps)
        layers = make_layers(24, links)
        after = [
            [t for s, t in layers.links if s == point] for point in range(24 + sum(map(len, layers.bends.values())))
        ]
        return sum(count_crossings(upper, lower, after) for upper, lower in itertools.pairwise(layers.orders))

    draw = random.Random(5)
    graphs = [sorted({tuple(sorted(draw.sample(range(24), 2))) for _ in range(30)}) for _ in range(20)]
    before, after = [count(links, 0) for links in graphs], [count(links, 12) for links in graphs]
    assert all(least <= first for first, least in zip(before, after, strict=True))
    assert sum(after) < 0.6 * sum(before)


def test_nothing_has_no_layers():
    assert make_layers(0, []).orders == []
