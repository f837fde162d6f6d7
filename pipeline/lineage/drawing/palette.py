"""The colours of Mermaid's and Graphviz' drawings by group; pages and SVG have theirs in a style sheet, for light and dark."""

from dataclasses import dataclass

_INK, _QUIET, _PAPER = "#1d2126", "#5c646e", "#fcfbf9"


@dataclass(frozen=True, kw_only=True)
class Colours:
    """Of one group of nodes.

    Attributes:
        fill: Of the node.
        line: Of its edge.
        text: Of its words.
        pattern: Of its edge: `solid`, `dashed` or `dotted`.
    """

    fill: str
    line: str
    text: str = _INK
    pattern: str = "solid"


PALETTE = {
    "complete": Colours(fill="#f3f0eb", line=_QUIET),
    "cached": Colours(fill=_PAPER, line=_QUIET, text=_QUIET, pattern="dashed"),
    "failed": Colours(fill="#fbe6e3", line="#b3372a", text="#b3372a"),
    "running": Colours(fill="#fbf3dc", line="#8a6a12", text="#8a6a12"),
    "canceled": Colours(fill=_PAPER, line="#b3372a", text=_QUIET, pattern="dotted"),
    "new": Colours(fill=_PAPER, line="#dfdbd4", text=_QUIET),
    "data": Colours(fill="#e2eefa", line="#3d86c6"),
    "model": Colours(fill="#fdebd8", line="#c97a26"),
    "evidence": Colours(fill="#ece6f7", line="#7b5bb5"),
    "other": Colours(fill=_PAPER, line=_QUIET),
}
