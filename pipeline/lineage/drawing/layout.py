"""Where everything of a drawing stands: each run a lane with a layered drawing of its own, or all in one."""

from dataclasses import dataclass

from pipeline.lineage.drawing.coordinates import place_across
from pipeline.lineage.drawing.layers import make_layers
from pipeline.lineage.drawing.model import EXECUTION, Drawing, Node
from pipeline.lineage.drawing.routes import pull_taut

NODE_WIDTH, EXECUTION_HEIGHT, ARTIFACT_HEIGHT = 204.0, 46.0, 40.0
# Between layers, and between nodes of a layer.
_LAYER_GAP_DOWN, _LAYER_GAP_RIGHT, _GAP_DOWN, _GAP_RIGHT = 36.0, 46.0, 22.0, 12.0
# Beside a bend, and between lines that were pulled taut.
_BEND_GAP, _LINE_GAP = 12.0, 7.0
MARGIN = 24.0
LANE_HEADER, LANE_PADDING, LANE_GAP = 44.0, 14.0, 12.0

Point = tuple[float, float]
Link = tuple[str, str]
"""Keys of an edge's source and target."""


@dataclass(frozen=True, kw_only=True)
class Box:
    """Where a node stands: its middle, and its size."""

    x: float
    y: float
    width: float
    height: float

    @property
    def corners(self) -> tuple[Point, Point]:
        """The upper left and the lower right one."""
        return (
            (self.x - self.width / 2, self.y - self.height / 2),
            (self.x + self.width / 2, self.y + self.height / 2),
        )


@dataclass(frozen=True, kw_only=True)
class Lane:
    """The band of a run."""

    run: str
    y: float
    height: float


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A drawing's places.

    Attributes:
        width: Of all.
        height: Of all.
        goes_down: Whether data runs from top to bottom; else from left to right.
        boxes: Key of a node to where it stands.
        routes: Source and target of an edge to the points that it runs through, its ends included.
        lanes: From top to bottom; empty if the drawing has none.
    """

    width: float
    height: float
    goes_down: bool
    boxes: dict[str, Box]
    routes: dict[Link, list[Point]]
    lanes: tuple[Lane, ...]


def lay_out(drawing: Drawing) -> Layout:
    """Returns where everything stands.

    One run is drawn from top to bottom, as it fits on a page. Several run from left to right, one below the other, the newest
    on top; layers are those of each run alone, so that the same node of all runs stands in one column, however they depend on
    each other.
    """
    goes_down = not drawing.lanes
    boxes: dict[str, Box] = {}
    bends: dict[Link, list[Point]] = {}
    lanes = []
    width, y = 0.0, MARGIN
    for name, members in _list_lanes(drawing):
        own_boxes, own_bends = _lay_out_lane(drawing, members, goes_down)
        points = [corner for box in own_boxes.values() for corner in box.corners]
        points += [point for route in own_bends.values() for point in route]
        # From left to right the columns of all lanes are the same, also where the first ones of a lane are empty.
        left = min(x for x, _ in points) if goes_down else 0.0
        top = min(y for _, y in points)
        header = LANE_HEADER if drawing.lanes else 0.0
        move_x, move_y = MARGIN - left, y + header - top
        boxes |= {k: Box(x=b.x + move_x, y=b.y + move_y, width=b.width, height=b.height) for k, b in own_boxes.items()}
        bends |= {link: [(x + move_x, y + move_y) for x, y in route] for link, route in own_bends.items()}
        width = max(width, max(x for x, _ in points) - left)
        height = header + max(y for _, y in points) - top
        lanes.append(Lane(run=name, y=y, height=height + LANE_PADDING))
        y += height + (LANE_PADDING + LANE_GAP if drawing.lanes else 0.0)
    routes = {}
    for edge in drawing.edges:
        link = (edge.source, edge.target)
        start, end = _find_ends(boxes[edge.source], boxes[edge.target], goes_down)
        routes[link] = [start, *bends.get(link, ()), end]
    return Layout(
        width=width + 2 * MARGIN,
        height=y + MARGIN,
        goes_down=goes_down,
        boxes=boxes,
        routes=routes,
        lanes=tuple(lanes) if drawing.lanes else (),
    )


def _list_lanes(drawing: Drawing) -> list[tuple[str, list[Node]]]:
    if not drawing.lanes:
        return [("", list(drawing.nodes))] if drawing.nodes else []
    members: dict[str, list[Node]] = {run.id: [] for run in drawing.runs}
    for node in drawing.nodes:
        members[node.run].append(node)
    return [(run, nodes) for run, nodes in members.items() if nodes]


def _lay_out_lane(
    drawing: Drawing, members: list[Node], goes_down: bool
) -> tuple[dict[str, Box], dict[Link, list[Point]]]:
    """Returns where nodes stand, and the bends of the edges between them."""
    own = {node.key for node in members}
    executions = {node.key: node.title for node in members if node.kind == EXECUTION}
    # By names, so that two runs of the same nodes are drawn alike, whichever of them ended first.
    edges = sorted(
        (edge for edge in drawing.edges if edge.source in executions or edge.target in executions),
        key=lambda edge: (
            executions[edge.source if edge.source in executions else edge.target],
            edge.kind,
            edge.names,
        ),
    )
    # Artifacts of other lanes take no room, but tell what follows what: a run from the cache has none of its own.
    ends = (key for edge in edges for key in (edge.source, edge.target))
    keys = list(dict.fromkeys([*sorted(executions, key=lambda key: executions[key]), *ends, *(n.key for n in members)]))
    index = {key: number for number, key in enumerate(keys)}
    layers = make_layers(len(keys), [(index[edge.source], index[edge.target]) for edge in edges])

    heights = {n.key: EXECUTION_HEIGHT if n.kind == EXECUTION else ARTIFACT_HEIGHT for n in members}
    breadths = {key: NODE_WIDTH if goes_down else height for key, height in heights.items()}
    gap, layer_gap = (_GAP_DOWN, _LAYER_GAP_DOWN) if goes_down else (_GAP_RIGHT, _LAYER_GAP_RIGHT)
    extents = [breadths.get(key, 0.0) for key in keys]
    across = pull_taut(layers, place_across(layers, extents, gap, _BEND_GAP), extents, _LINE_GAP)
    length = EXECUTION_HEIGHT if goes_down else NODE_WIDTH
    along = {p: i * (length + layer_gap) + length / 2 for i, order in enumerate(layers.orders) for p in order}

    def locate(point: int) -> Point:
        return (across[point], along[point]) if goes_down else (along[point], across[point])

    boxes = {}
    for key, height in heights.items():
        x, y = locate(index[key])
        boxes[key] = Box(x=x, y=y, width=NODE_WIDTH, height=height)
    bends = {
        (keys[source], keys[target]): [locate(bend) for bend in points]
        for (source, target), points in layers.bends.items()
        if keys[source] in own and keys[target] in own
    }
    return boxes, bends


def _find_ends(source: Box, target: Box, goes_down: bool) -> tuple[Point, Point]:
    """Returns where an edge leaves one node and enters the other."""
    if goes_down:
        return (source.x, source.y + source.height / 2), (target.x, target.y - target.height / 2)
    return (source.x + source.width / 2, source.y), (target.x - target.width / 2, target.y)
