"""A drawing as text for Graphviz."""

from collections.abc import Iterator

from pipeline.lineage.drawing.mermaid import make_id
from pipeline.lineage.drawing.model import ARTIFACT, CHOICE, REUSE, Drawing, Node
from pipeline.lineage.drawing.text import make_line, shorten

_MAX_LABEL, _MAX_TOOLTIP = 60, 300
_STYLES = {
    "complete": 'fillcolor="#f3f0eb" color="#5c646e"',
    "cached": 'fillcolor="#fcfbf9" color="#5c646e" fontcolor="#5c646e" style="filled,rounded,dashed"',
    "failed": 'fillcolor="#fbe6e3" color="#b3372a" fontcolor="#b3372a"',
    "running": 'fillcolor="#fbf3dc" color="#8a6a12" fontcolor="#8a6a12"',
    "canceled": 'fillcolor="#fcfbf9" color="#b3372a" fontcolor="#5c646e" style="filled,rounded,dotted"',
    "new": 'fillcolor="#fcfbf9" color="#dfdbd4" fontcolor="#5c646e"',
    "data": 'fillcolor="#e2eefa" color="#3d86c6"',
    "model": 'fillcolor="#fdebd8" color="#c97a26"',
    "evidence": 'fillcolor="#ece6f7" color="#7b5bb5"',
    "other": 'fillcolor="#fcfbf9" color="#5c646e"',
}


def render(drawing: Drawing) -> str:
    """Returns the drawing as text for Graphviz (`dot -Tpdf`)."""
    return "".join(f"{line}\n" for line in _list_lines(drawing))


def quote(text: str, at_most: int = _MAX_LABEL) -> str:
    r"""Returns a text in quotes, on one line.

    A backslash would begin an escape (`\N` is the node's name), an ampersand an entity of HTML.
    """
    line = shorten(make_line(text), at_most)
    return '"' + line.replace("&", "&amp;").replace("\\", "\\\\").replace('"', '\\"') + '"'


def _list_lines(drawing: Drawing) -> Iterator[str]:
    names = {node.key: make_id(node) for node in drawing.nodes}
    yield "digraph lineage {"
    yield f"  graph [label={quote(drawing.title, _MAX_TOOLTIP)} labelloc=t rankdir={'LR' if drawing.lanes else 'TB'} fontname=Helvetica]"
    yield '  node [shape=box style="filled,rounded" fontname=Helvetica fontsize=11]'
    yield '  edge [color="#5c646e" arrowsize=0.7]'
    for number, run in enumerate(drawing.runs if drawing.lanes else ()):
        members = [node for node in drawing.nodes if node.run == run.id]
        if members:
            yield f"  subgraph cluster_{number} {{"
            yield f'    graph [label={quote(f"{run.id}, {run.summary}")} color="#dfdbd4"]'
            yield from (f"    {_declare(node)}" for node in members)
            yield "  }"
    if not drawing.lanes:
        yield from (f"  {_declare(node)}" for node in drawing.nodes)
    for edge in drawing.edges:
        style = {REUSE: " style=dashed", CHOICE: " style=dotted constraint=false"}.get(edge.kind, "")
        yield f"  {names[edge.source]} -> {names[edge.target]} [tooltip={quote(', '.join(edge.names))}{style}]"
    yield "}"


def _declare(node: Node) -> str:
    label = f"{quote(node.title)[:-1]}\\n{quote(node.detail)[1:]}"
    tooltip = quote(f"{node.key} {node.type} {node.uri}", _MAX_TOOLTIP)
    shape = " shape=ellipse" if node.kind == ARTIFACT else ""
    # Ellipses know no rounded corners: a style of their own for all groups of artifacts.
    style = " style=filled" if node.kind == ARTIFACT else ""
    return f"{make_id(node)} [label={label} tooltip={tooltip}{shape}{style} {_STYLES[node.group]}]"
