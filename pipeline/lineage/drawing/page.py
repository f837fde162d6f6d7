"""A drawing as an HTML page: one file without network, to pan, zoom, search and ask."""

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

from markupsafe import Markup

from pipeline.html import render as render_template
from pipeline.lineage.drawing import svg
from pipeline.lineage.drawing.layout import Layout
from pipeline.lineage.drawing.model import EDGES, EXECUTION, GROUPS, STATES, Drawing, Node
from pipeline.lineage.drawing.text import format_value, make_block, make_line
from pipeline.lineage.graph import Properties
from pipeline.lineage.times import format_duration, humanize

_ASSETS = Path(__file__).with_name("assets")
# One script: what the first ones define the others use.
_SCRIPTS = ("view.js", "selection.js", "search.js", "keyboard.js")
# A page of 50 runs must open at once; JSON output has everything.
_MAX_VALUE = 20_000


def render(drawing: Drawing, layout: Layout) -> str:
    """Returns the drawing as HTML text."""
    counts = {group: sum(node.group == group for node in drawing.nodes) for group in GROUPS}
    kinds = {edge.kind for edge in drawing.edges}
    return render_template(
        _ASSETS / "page.html.j2",
        {"sha256": lambda text: base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()},
        title=make_line(drawing.title),
        subtitle=_summarize(drawing),
        style=Markup(_read("graph.css") + _read("page.css")),
        script=Markup("\n".join(map(_read, _SCRIPTS))),
        legend=[
            {
                "name": group,
                "title": title,
                "count": f"{counts[group]:,}",
                "kind": EXECUTION if group in STATES else "artifact",
                "key": Markup(svg.draw_key(group)),
            }
            for group, title in GROUPS.items()
            if counts[group]
        ],
        edges=[{"name": kind, "title": title} for kind, title in EDGES.items() if kind in kinds],
        runs=[make_line(run.id) for run in drawing.runs] if drawing.lanes else [],
        width=round(layout.width),
        height=round(layout.height),
        drawing=Markup("".join(svg.draw(drawing, layout, interactive=True))),
        data=Markup(dump_for_script(make_data(drawing, layout))),
    )


def dump_for_script(value: Any) -> str:
    """Returns JSON that may stand in a script element: nothing in it can end that element or begin a comment."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text


def make_data(drawing: Drawing, layout: Layout) -> dict[str, Any]:
    """Returns what the page's script reads. Nodes and edges are in the order of the drawing's elements."""
    texts: dict[str, int] = {}
    number = {node.key: index for index, node in enumerate(drawing.nodes)}
    tops = {lane.run: round(lane.y, 1) for lane in layout.lanes}
    return {
        "width": round(layout.width, 1),
        "height": round(layout.height, 1),
        "subject": drawing.subject,
        "lanes": drawing.lanes,
        "nodes": [_make_node(node, layout, texts) for node in drawing.nodes],
        "edges": [
            [number[edge.source], number[edge.target], edge.kind, make_line(", ".join(edge.names))]
            for edge in drawing.edges
        ],
        "runs": [
            {
                "id": make_line(run.id),
                "top": tops.get(run.id, 0.0),
                "facts": [
                    ["Pipeline", make_line(run.pipeline)],
                    ["Started", humanize(run.created_at)],
                    ["Nodes", run.summary],
                ],
                "properties": _list_properties(run.properties, texts),
            }
            for run in drawing.runs
        ],
        # Runs repeat most of their properties: each text is there once.
        "texts": list(texts),
    }


def _make_node(node: Node, layout: Layout, texts: dict[str, int]) -> dict[str, Any]:
    box = layout.boxes[node.key]
    is_execution = node.kind == EXECUTION
    over = "Ended" if is_execution else "Updated"
    duration = "" if node.duration_seconds is None else format_duration(node.duration_seconds)
    return {
        "key": node.key,
        "kind": node.kind,
        "group": node.group,
        "title": make_line(node.title),
        "detail": make_line(node.detail),
        "tone": node.tone,
        "type": make_line(node.type),
        "state": node.state,
        "run": make_line(node.run),
        "uri": make_line(node.uri),
        "box": [round(box.x, 1), round(box.y, 1)],
        "facts": [
            ["Type", make_line(node.type)],
            ["Number", f"{node.kind} {node.id}"],
            ["State", node.state.lower().replace("_", " ")],
            ["Detail", "" if is_execution or node.detail == node.type else make_line(node.detail)],
            ["Run", make_line(node.run)],
            ["Started" if is_execution else "Created", humanize(node.created_at)],
            [over, "" if is_execution and node.duration_seconds is None else humanize(node.updated_at)],
            ["Took", duration],
        ],
        "properties": _list_properties(node.properties, texts),
    }


def _list_properties(properties: Properties, texts: dict[str, int]) -> list[list[Any]]:
    found = []
    for name, value in sorted(properties.items()):
        text, is_json = format_value(value)
        text = make_block(text)
        if len(text) > _MAX_VALUE:
            text = f"{text[:_MAX_VALUE]}\n… {len(text) - _MAX_VALUE:,} more characters: `lineage graph --json` has them"
        found.append([make_line(name), texts.setdefault(text, len(texts)), is_json])
    return found


def _summarize(drawing: Drawing) -> str:
    executions = sum(node.kind == EXECUTION for node in drawing.nodes)
    facts = [f"{executions:,} executions", f"{len(drawing.nodes) - executions:,} artifacts"]
    if drawing.pipeline:
        facts.insert(0, f"Pipeline {make_line(drawing.pipeline)}")
    if len(drawing.runs) == 1 and drawing.runs[0].created_at:
        facts.append(f"started {humanize(drawing.runs[0].created_at)}")
    elif len(drawing.runs) > 1:
        facts.append(f"{len(drawing.runs)} runs")
    return ", ".join(facts)


def _read(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")
