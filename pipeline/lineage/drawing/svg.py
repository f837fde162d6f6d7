"""A drawing as SVG: by itself, or as the part of a page."""

import itertools
from collections.abc import Iterator
from html import escape
from pathlib import Path

from pipeline.lineage.drawing.layout import LANE_HEADER, MARGIN, Layout, Point
from pipeline.lineage.drawing.model import ARTIFACT, EXECUTION, GROUPS, STATES, Drawing, Node
from pipeline.lineage.drawing.text import make_line, measure, shorten
from pipeline.lineage.times import humanize

_STYLE = Path(__file__).with_name("assets") / "graph.css"
# Of an average character; fonts differ, and a text must not leave its node with any of them.
_TITLE_CHARACTER, _DETAIL_CHARACTER = 8.2, 7.1
_TOOLTIP_LENGTH = 400
_BACK_HANDLE = 60.0
_LEGEND_ROW, _TITLE_ROW = 26.0, 44.0
_WIDE = 320.0


def render(drawing: Drawing, layout: Layout) -> str:
    """Returns the drawing as an SVG file with title and legend; light and dark follow the reader's setting."""
    width = max(layout.width, _WIDE)
    legend = list(_list_legend(drawing, width))
    rows = int(legend[-1][2]) + 1 if legend else 0
    height = _TITLE_ROW + layout.height + rows * _LEGEND_ROW + MARGIN / 2
    title = escape(shorten(make_line(drawing.title), (width - 2 * MARGIN) / 9))
    parts = [
        '<?xml version="1.0" encoding="UTF-8"?>\n',
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="{escape(make_line(drawing.title))}">\n',
        f"<style>{_STYLE.read_text(encoding='utf-8')}</style>\n",
        '<rect class="paper" width="100%" height="100%"/>\n',
        f'<text class="heading" x="{MARGIN:.0f}" y="{MARGIN + 10:.0f}">{title}</text>\n',
        f'<g transform="translate({(width - layout.width) / 2:.0f} {_TITLE_ROW:.0f})">\n',
        *draw(drawing, layout),
        "</g>\n",
    ]
    for group, x, row in legend:
        y = _TITLE_ROW + layout.height + row * _LEGEND_ROW
        parts.append(
            f'<g class="node {EXECUTION if group in STATES else ARTIFACT} {group}" '
            f'transform="translate({x:.0f} {y:.0f})">{draw_key(group)}<text class="key" x="30" y="10">{GROUPS[group]}</text></g>\n'
        )
    return "".join([*parts, "</svg>\n"])


def draw(drawing: Drawing, layout: Layout, interactive: bool = False) -> Iterator[str]:
    """Yields the elements of lanes, edges and nodes; edges and nodes in the drawing's order.

    Args:
        drawing: What is drawn.
        layout: Where it stands.
        interactive: Whether nodes can be reached with the keyboard.
    """
    yield (
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" markerUnits="userSpaceOnUse" orient="auto">'
        '<path class="head" d="M0 0.5 L8 4 L0 7.5 z"/></marker></defs>\n'
    )
    runs = {run.id: run for run in drawing.runs}
    yield '<g class="lanes">\n'
    for lane in layout.lanes:
        run = runs[lane.run]
        about = make_line(f"{run.pipeline}, {humanize(run.created_at)}, {run.summary}")
        focus = ' tabindex="0" role="button"' if interactive else ""
        width = layout.width - MARGIN
        yield (
            f'<g class="lane"{focus} transform="translate({MARGIN / 2:.0f} {lane.y:.1f})">'
            f'<rect width="{width:.0f}" height="{lane.height:.1f}" rx="10"/>'
            f'<text x="16" y="{LANE_HEADER / 2 + 2:.0f}"><tspan class="run">{escape(make_line(run.id))}</tspan>'
            f'<tspan dx="14">{escape(about)}</tspan></text></g>\n'
        )
    yield '</g>\n<g class="edges">\n'
    home = {node.key: node.run for node in drawing.nodes}
    for edge in drawing.edges:
        across = " across" if layout.lanes and home[edge.source] != home[edge.target] else ""
        path = make_path(layout.routes[edge.source, edge.target], layout.goes_down)
        yield f'<path class="edge {edge.kind}{across}" d="{path}"/>\n'
    yield '</g>\n<g class="nodes">\n'
    for node in drawing.nodes:
        yield _draw_node(node, layout, node.key == drawing.subject, interactive)
    yield "</g>\n"


def draw_key(group: str) -> str:
    """Returns the small shape by which a legend explains a group."""
    if group in STATES:
        return '<rect class="shape" width="22" height="14" rx="3"/><rect class="bar" width="4" height="14" rx="2"/>'
    return '<rect class="shape" width="22" height="14" rx="7"/><circle class="bar" cx="8" cy="7" r="3"/>'


def make_path(route: list[Point], goes_down: bool) -> str:
    """Returns the commands of a smooth line through points, which leaves and reaches nodes in the direction of the layers."""
    # Along the layers, and across them.
    points = [(y, x) if goes_down else (x, y) for x, y in route]
    slopes = _find_slopes(points)
    is_long = len(points) > 2
    commands = [_format("M", points[:1], goes_down)]
    for (t, x), (next_t, next_x), slope, next_slope in zip(points, points[1:], slopes, slopes[1:], strict=False):
        # To another lane a line may have to go back.
        handle = (next_t - t) / (3 if is_long else 2) if next_t > t + 1 else _BACK_HANDLE
        controls = [(t + handle, x + slope * handle), (next_t - handle, next_x - next_slope * handle)]
        commands.append(_format("C", [*controls, (next_t, next_x)], goes_down))
    return "".join(commands)


def _find_slopes(points: list[Point]) -> list[float]:
    """Returns the slope at each point, none at the ends, so that the curve swings over no point (monotone cubics)."""
    steep = [(x1 - x0) / max(t1 - t0, 1.0) for (t0, x0), (t1, x1) in itertools.pairwise(points)]
    inner = [2 * a * b / (a + b) if a * b > 0 else 0.0 for a, b in itertools.pairwise(steep)]
    return [0.0, *inner, 0.0]


def _format(command: str, points: list[Point], goes_down: bool) -> str:
    return command + " ".join(f"{x:.1f} {t:.1f}" if goes_down else f"{t:.1f} {x:.1f}" for t, x in points)


def _draw_node(node: Node, layout: Layout, is_subject: bool, interactive: bool) -> str:
    box = layout.boxes[node.key]
    x, y = box.x - box.width / 2, box.y - box.height / 2
    title, detail = make_line(node.title), make_line(node.detail)
    told = make_line(f"{node.title}: {node.type}, {node.detail}. {node.uri}")[:_TOOLTIP_LENGTH]
    focus = f' tabindex="0" role="button" aria-label="{escape(f"{title}, {detail}")}"' if interactive else ""
    w, h = f"{box.width:.0f}", f"{box.height:.0f}"
    if node.kind == EXECUTION:
        shape = (
            f'<rect class="shape" width="{w}" height="{h}" rx="6"/><rect class="bar" width="5" height="{h}" rx="2.5"/>'
        )
        left = 15
    else:
        shape = f'<rect class="shape" width="{w}" height="{h}" rx="{box.height / 2:.0f}"/><circle class="bar" cx="17" cy="{box.height / 2:.0f}" r="5"/>'
        left = 30
    room = box.width - left - 12
    return (
        f'<g class="node {node.kind} {node.group}{" subject" if is_subject else ""}"{focus} transform="translate({x:.1f} {y:.1f})">'
        f"<title>{escape(told)}</title>{shape}"
        f'<text x="{left}" y="{box.height / 2 - 3:.0f}">{escape(shorten(title, room / _TITLE_CHARACTER))}</text>'
        f'<text class="detail {node.tone}" x="{left}" y="{box.height / 2 + 12:.0f}">{escape(shorten(detail, room / _DETAIL_CHARACTER))}</text>'
        "</g>\n"
    )


def _list_legend(drawing: Drawing, width: float) -> Iterator[tuple[str, float, int]]:
    """Yields the groups that are drawn, each with its place from the left and its row."""
    used = {node.group for node in drawing.nodes}
    x, row = MARGIN, 0
    for group, name in GROUPS.items():
        if group in used:
            room = 50 + 7 * measure(name)
            if x + room > width and x > MARGIN:
                x, row = MARGIN, row + 1
            yield group, x, row
            x += room
