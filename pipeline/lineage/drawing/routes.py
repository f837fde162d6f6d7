"""Edges over several layers, pulled taut: they keep their place in each layer's order, and no more corners than that needs."""

import math
from collections.abc import Sequence

from pipeline.lineage.drawing.layers import Layers

# Halving the distance to the straight line so often leaves nothing to see over twenty layers.
_NUM_ROUNDS = 40
_NODE_MARGIN = 18.0

Range = tuple[float, float]


def pull_taut(layers: Layers, across: Sequence[float], extents: Sequence[float], bend_gap: float) -> list[float]:
    """Returns the points' places with each bend as near to the straight line as the nodes beside it allow.

    Args:
        layers: Nodes and bends in layers.
        across: Where each point stands.
        extents: How much room each node takes.
        bend_gap: Least distance between lines that pass through the same opening.
    """
    openings = _find_openings(layers, across, extents, bend_gap)
    placed = list(across)
    for (source, target), bends in layers.bends.items():
        chain = [source, *bends, target]
        for _ in range(_NUM_ROUNDS):
            moved = 0.0
            for before, bend, after in zip(chain, chain[1:], chain[2:], strict=False):
                low, high = openings[bend]
                wanted = min(max((placed[before] + placed[after]) / 2, low), high)
                moved = max(moved, abs(wanted - placed[bend]))
                placed[bend] = wanted
            if moved < 0.5:
                break
    return placed


def _find_openings(
    layers: Layers, across: Sequence[float], extents: Sequence[float], bend_gap: float
) -> dict[int, Range]:
    """Returns between which places each bend may move: from the node on one side to the node on the other."""
    openings = {}
    for order in layers.orders:
        lows = _walk(order, layers.num_nodes, across, extents, bend_gap, 1.0)
        highs = _walk(order[::-1], layers.num_nodes, across, extents, bend_gap, -1.0)
        for bend, low in lows.items():
            # An opening that is too narrow for all its lines leaves each where it is.
            openings[bend] = (low, highs[bend]) if low <= highs[bend] else (across[bend], across[bend])
    return openings


def _walk(
    order: Sequence[int], num_nodes: int, across: Sequence[float], extents: Sequence[float], gap: float, sign: float
) -> dict[int, float]:
    """Returns for each bend of a layer how far it may move against the direction of the walk."""
    ends = {}
    end = -sign * math.inf
    for point in order:
        if point < num_nodes:
            if extents[point]:  # what takes no room is not drawn
                end = across[point] + sign * (extents[point] / 2 + _NODE_MARGIN)
        else:
            ends[point] = end
            end += sign * gap
    return ends
