"""The first half of a layered drawing (Sugiyama's method): which layer each node stands in, and in which order there.

1. Edges that close a cycle are turned around.
2. Each node stands one layer behind the last of its predecessors; those that feed more than they read then move to where they
   are read.
3. An edge over several layers gets a bend in each of those between.
4. Sweeps over the layers sort each one by the mean place of its neighbours; the order with the fewest crossings is kept.
"""

import itertools
from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_NUM_SWEEPS = 12

Link = tuple[int, int]
"""From a node to a node, by their indices."""


@dataclass(frozen=True, kw_only=True)
class Layers:
    """Nodes and bends in layers.

    Attributes:
        orders: For each layer its points in their order. Points below `num_nodes` are nodes, others are bends.
        num_nodes: How many nodes there are.
        links: Between points of neighbouring layers.
        bends: For each edge over more than one layer, the bends from its source to its target.
    """

    orders: list[list[int]]
    num_nodes: int
    links: list[Link]
    bends: dict[Link, list[int]]


def make_layers(num_nodes: int, links: Iterable[Link]) -> Layers:
    """Returns nodes in layers, with few crossings.

    Args:
        num_nodes: Nodes are numbered from 0.
        links: The edges; any directed graph. Edges from a node to itself are left out.
    """
    distinct = list(dict.fromkeys(link for link in links if link[0] != link[1]))
    forward = _break_cycles(num_nodes, distinct)
    layers = assign_layers(num_nodes, [link for link, _ in forward])
    orders: list[list[int]] = [[] for _ in range(max(layers, default=-1) + 1)]
    segments: dict[Link, None] = {}
    bends: dict[Link, list[int]] = {}
    place = list(layers)
    for (source, target), turned in forward:
        chain = [source]
        for layer in range(layers[source] + 1, layers[target]):
            chain.append(len(place))
            place.append(layer)
        chain.append(target)
        segments.update(dict.fromkeys(itertools.pairwise(chain)))
        if len(chain) > 2:
            bends[(target, source) if turned else (source, target)] = chain[-2:0:-1] if turned else chain[1:-1]
    found = list(segments)
    for point in _walk_depth_first(len(place), found):
        orders[place[point]].append(point)
    return Layers(orders=_sort(orders, len(place), found), num_nodes=num_nodes, links=found, bends=bends)


def assign_layers(num_nodes: int, links: Sequence[Link]) -> list[int]:
    """Returns the layer of each node; every link leads to a higher one.

    Args:
        num_nodes: Nodes are numbered from 0.
        links: Edges without cycles.
    """
    after, before = _index(num_nodes, links)
    layers = [0] * num_nodes
    waiting = [len(sources) for sources in before]
    ready = [node for node in range(num_nodes) if not waiting[node]]
    for node in ready:  # grows while it is walked
        for target in after[node]:
            layers[target] = max(layers[target], layers[node] + 1)
            waiting[target] -= 1
            if not waiting[target]:
                ready.append(target)
    # The sum of all lengths falls if what has more readers than inputs moves towards the readers.
    for node in reversed(ready):
        if len(after[node]) > len(before[node]):
            layers[node] = min(layers[target] for target in after[node]) - 1
    return layers


def count_crossings(upper: Sequence[int], lower: Sequence[int], after: Sequence[Sequence[int]]) -> int:
    """Returns how many links between two neighbouring layers cross."""
    place = {point: index for index, point in enumerate(lower)}
    seen: list[int] = []
    crossings = 0
    for point in upper:
        ends = sorted(place[target] for target in after[point])
        # Links of earlier points that end behind this one's end cross it.
        crossings += sum(len(seen) - bisect_left(seen, end + 1) for end in ends)
        for end in ends:
            insort(seen, end)
    return crossings


def _break_cycles(num_nodes: int, links: Sequence[Link]) -> list[tuple[Link, bool]]:
    """Returns the links without cycles, each with whether it was turned around for that."""
    after, _ = _index(num_nodes, links)
    done, on_path = [False] * num_nodes, [False] * num_nodes
    back: set[Link] = set()
    for start in range(num_nodes):
        if done[start]:
            continue
        path = [(start, iter(after[start]))]
        done[start] = on_path[start] = True
        while path:
            node, targets = path[-1]
            target = next(targets, None)
            if target is None:
                on_path[node] = False
                path.pop()
            elif on_path[target]:
                back.add((node, target))
            elif not done[target]:
                done[target] = on_path[target] = True
                path.append((target, iter(after[target])))
    turned = {link: (link[::-1] if link in back else link) for link in links}
    return [((link[0], link[1]), link != original) for original, link in turned.items()]


def _walk_depth_first(num_points: int, links: Sequence[Link]) -> Iterable[int]:
    """Yields points so that those which hang together come one after the other: a first order without many crossings."""
    after, before = _index(num_points, links)
    found = [False] * num_points
    for start in range(num_points):
        waiting = [start]
        while waiting:
            point = waiting.pop()
            if not found[point]:
                found[point] = True
                yield point
                waiting += reversed(before[point] + after[point])


def _sort(orders: list[list[int]], num_points: int, links: Sequence[Link]) -> list[list[int]]:
    after, before = _index(num_points, links)

    def count(candidate: list[list[int]]) -> int:
        return sum(count_crossings(upper, lower, after) for upper, lower in itertools.pairwise(candidate))

    best, fewest = [list(order) for order in orders], count(orders)
    for sweep in range(_NUM_SWEEPS):
        if not fewest:
            break
        down = sweep % 2 == 0
        neighbours = before if down else after
        place = [0.0] * num_points
        for order in orders if down else reversed(orders):
            means = {}
            for index, point in enumerate(order):
                near = [place[other] for other in neighbours[point]]
                # What has no neighbour on that side stays where it is.
                means[point] = sum(near) / len(near) if near else index / max(len(order) - 1, 1)
            # Equal ones change places in every other pair of sweeps, lest one that crosses stays for ever.
            equal = -1 if sweep % 4 >= 2 else 1
            rank = {point: equal * index for index, point in enumerate(order)}
            order.sort(key=lambda point, means=means, rank=rank: (means[point], rank[point]))  # type: ignore[misc]
            for index, point in enumerate(order):
                place[point] = index / max(len(order) - 1, 1)
        crossings = count(orders)
        if crossings < fewest:
            best, fewest = [list(order) for order in orders], crossings
    return best


def _index(num_points: int, links: Iterable[Link]) -> tuple[list[list[int]], list[list[int]]]:
    """Returns the targets and the sources of each point."""
    after: list[list[int]] = [[] for _ in range(num_points)]
    before: list[list[int]] = [[] for _ in range(num_points)]
    for source, target in links:
        after[source].append(target)
        before[target].append(source)
    return after, before
