"""A drawing as a Mermaid flowchart."""

import re
from collections.abc import Iterator

from pipeline.lineage.drawing.model import ARTIFACT, CHOICE, GROUPS, REUSE, Drawing, Node
from pipeline.lineage.drawing.palette import PALETTE, Colours
from pipeline.lineage.drawing.text import make_line, shorten

# What Mermaid draws without being told otherwise: `maxEdges` and `maxTextSize` of its configuration.
MAX_EDGES, MAX_CHARACTERS = 500, 50_000
_MAX_LABEL = 60
# Shown as they are; all others are written as numbers, since quotes, brackets, `#`, `;`, backticks and Markdown mean something.
_PLAIN = frozenset(" _,/=()")
# Formulas, icons and line ends are recognized after the numbers have become characters again: a space without width parts them.
_MEANINGS = re.compile(r"(\$(?=\$)|\\(?=n)|\bfa[a-z]?:(?=fa-))")
_DASHES = {"solid": "", "dashed": ",stroke-dasharray:4 3", "dotted": ",stroke-dasharray:2 2"}


def render(drawing: Drawing) -> str:
    """Returns the drawing as text for Mermaid."""
    return "".join(f"{line}\n" for line in _list_lines(drawing))


def find_limit(text: str, drawing: Drawing) -> str:
    """Returns what to know if Mermaid refuses the text unless it is configured for more; empty if it takes it."""
    if len(drawing.edges) <= MAX_EDGES and len(text) <= MAX_CHARACTERS:
        return ""
    return (
        f"Note: Mermaid refuses more than {MAX_EDGES} edges or {MAX_CHARACTERS:,} characters unless `maxEdges` and `maxTextSize` are "
        f"configured; this has {len(drawing.edges):,} and {len(text):,}. `--format svg` and `html` draw any size."
    )


def _list_lines(drawing: Drawing) -> Iterator[str]:
    names = {node.key: make_id(node) for node in drawing.nodes}
    yield f"flowchart {'LR' if drawing.lanes else 'TD'}"
    # Newest first, as the other formats show them.
    for number, run in enumerate(drawing.runs if drawing.lanes else ()):
        members = [node for node in drawing.nodes if node.run == run.id]
        if members:
            yield f'  subgraph run{number} ["{escape(f"{run.id}, {run.summary}")}"]'
            yield from (f"    {_declare(node)}" for node in members)
            yield "  end"
    if not drawing.lanes:
        yield from (f"  {_declare(node)}" for node in drawing.nodes)
    for edge in drawing.edges:
        arrow = {REUSE: "-.->", CHOICE: "==>"}.get(edge.kind, "-->")
        yield f"  {names[edge.source]} {arrow} {names[edge.target]}"
    used = {node.group for node in drawing.nodes}
    yield from (f"  classDef {group} {_style(PALETTE[group])}" for group in GROUPS if group in used)


def make_id(node: Node) -> str:
    """Returns the name of a node in Mermaid and DOT: `e7` or `a12`."""
    return f"{node.kind[0]}{node.id}"


def escape(text: str) -> str:
    """Returns a text for a label in quotes, on one line."""
    line = _MEANINGS.sub("\\1\u200b", shorten(make_line(text), _MAX_LABEL))
    # Beyond ASCII, too, digits and letters stay readable in the source.
    return "".join(char if char in _PLAIN or char.isalnum() else f"#{ord(char)};" for char in line)


def _style(colours: Colours) -> str:
    return f"fill:{colours.fill},stroke:{colours.line},color:{colours.text}{_DASHES[colours.pattern]}"


def _declare(node: Node) -> str:
    label = f'"{escape(node.title)}<br/>{escape(node.detail)}"'
    shape = f"([{label}])" if node.kind == ARTIFACT else f"[{label}]"
    return f"{make_id(node)}{shape}:::{node.group}"
