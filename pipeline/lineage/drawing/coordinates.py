"""The second half of a layered drawing: how far along its layer each point stands.

Every point wants to stand level with its neighbours, and keeps its distance from the points beside it. For one layer with the
others fixed this is a least-squares problem with an order to keep, which pooling adjacent violators solves exactly; sweeps
repeat it for layer after layer.
"""

import itertools
from collections.abc import Sequence

from pipeline.lineage.drawing.layers import Layers

_NUM_SWEEPS = 60
_STILL = 0.25
# A link between two bends should rather be straight than one between two nodes.
_WEIGHTS = (1.0, 2.0, 8.0)


def place_across(layers: Layers, extents: Sequence[float], gap: float, bend_gap: float) -> list[float]:
    """Returns the middle of each point across the direction of the edges; the least edge of all is at 0.

    Args:
        layers: Nodes and bends in layers.
        extents: How much room each node takes; bends take none.
        gap: Least distance between two nodes.
        bend_gap: Least distance between a bend and what stands beside it.
    """
    num_points = sum(len(order) for order in layers.orders)
    room = [*extents, *[0.0] * (num_points - len(extents))]
    near: list[list[tuple[int, float]]] = [[] for _ in range(num_points)]
    for source, target in layers.links:
        weight = _WEIGHTS[(source >= layers.num_nodes) + (target >= layers.num_nodes)]
        near[source].append((target, weight))
        near[target].append((source, weight))

    # How far behind the first of its layer each point stands at least.
    offset = [0.0] * num_points
    for order in layers.orders:
        for left, right in itertools.pairwise(order):
            is_tight = left >= layers.num_nodes or right >= layers.num_nodes or not room[left] or not room[right]
            offset[right] = offset[left] + (room[left] + room[right]) / 2 + (bend_gap if is_tight else gap)
    across = list(offset)
    for order in layers.orders:
        middle = (offset[order[0]] + offset[order[-1]]) / 2
        for point in order:
            across[point] -= middle
    layer_of = {point: index for index, order in enumerate(layers.orders) for point in order}
    for sweep in range(_NUM_SWEEPS):
        down = sweep % 2 == 0
        # The first sweeps look at one side only, so that what is decided at one end comes through to the other.
        both = sweep >= 8
        moved = 0.0
        for index in range(len(layers.orders)) if down else reversed(range(len(layers.orders))):
            order = layers.orders[index]
            wishes, weights = [], []
            for point in order:
                pulls = [(across[o], w) for o, w in near[point] if both or (layer_of[o] < index) == down]
                total = sum(weight for _, weight in pulls)
                wishes.append(sum(at * weight for at, weight in pulls) / total if total else across[point])
                weights.append(total or 0.01)
            targets = [wish - offset[point] for wish, point in zip(wishes, order, strict=True)]
            for point, value in zip(order, fit_increasing(targets, weights), strict=True):
                moved = max(moved, abs(value + offset[point] - across[point]))
                across[point] = value + offset[point]
        if both and moved < _STILL:
            break
    least = min((across[point] - room[point] / 2 for point in range(num_points)), default=0.0)
    return [value - least for value in across]


def fit_increasing(targets: Sequence[float], weights: Sequence[float]) -> list[float]:
    """Returns the numbers that never fall and are closest to the targets: least weighted squares."""
    pools: list[tuple[float, float, int]] = []  # mean, weight, how many
    for target, weight in zip(targets, weights, strict=True):
        mean, total, size = target, weight, 1
        while pools and pools[-1][0] > mean:
            other, other_total, other_size = pools.pop()
            mean = (mean * total + other * other_total) / (total + other_total)
            total, size = total + other_total, size + other_size
        pools.append((mean, total, size))
    return [mean for mean, _, size in pools for _ in range(size)]
