"""A drawing as text for Graphviz."""

from collections.abc import Iterator

from pipeline.lineage.drawing.mermaid import make_id
from pipeline.lineage.drawing.model import ARTIFACT, CHOICE, REUSE, Drawing, Node
from pipeline.lineage.drawing.palette import PALETTE
from pipeline.lineage.drawing.text import make_line, shorten

_MAX_LABEL, _MAX_TOOLTIP = 60, 300


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
    yield "  node [shape=box fontname=Helvetica fontsize=11]"
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
    # Ellipses know no rounded corners.
    styles = ["filled"] if node.kind == ARTIFACT else ["filled", "rounded"]
    colours = PALETTE[node.group]
    if colours.pattern != "solid":
        styles.append(colours.pattern)
    look = f'fillcolor="{colours.fill}" color="{colours.line}" fontcolor="{colours.text}" style="{",".join(styles)}"'
    return f"{make_id(node)} [label={label} tooltip={tooltip}{shape} {look}]"
