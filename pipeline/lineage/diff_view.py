"""Shows what differs between two runs or models: a table a section, before and after."""

from typing import Any, Literal

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from pipeline.lineage.changes import Change, Section
from pipeline.lineage.diff import Compared, Diff

_HASH_DIGITS = 12
_HASH_LENGTHS = (40, 64)
_COLOURS = {"better": "green", "worse": "red"}


def render(diff: Diff) -> RenderableType:
    """Returns the two sides, and below them only what differs."""
    parts: list[RenderableType] = [_render_sides(diff)]
    if diff.is_equal:
        words = "Nothing differs" + (" but how long it took." if diff.sections else ".")
        parts += [Text(), Text(words)]
    parts += [part for section in diff.sections for part in (Text(), _render_section(section))]
    return Group(*parts)


def _render_sides(diff: Diff) -> Table:
    grid = Table.grid(padding=(0, 2))
    for word, side in (("before", diff.before), ("after", diff.after)):
        grid.add_row(f"[bold]{word}[/]", _describe_side(side))
    return grid


def _describe_side(side: Compared) -> str:
    words = [f"run {side.run_id}" if side.run_id else "no known run"]
    words += [side.started_at.replace("T", " ").removesuffix("Z").removesuffix("+00:00")] if side.started_at else []
    words += [side.pipeline_name] if side.pipeline_name else []
    words.append(f"model {side.model_id}" if side.model_id is not None else "no model")
    return escape(", ".join(words))


def _render_section(section: Section) -> Table:
    title = f"[bold]{section.title}[/]" + (f" [dim]{escape(section.note)}[/]" if section.note else "")
    table = Table(title=title, title_justify="left", title_style="", box=None, padding=(0, 2), pad_edge=False)
    numeric = all(change.difference is not None for change in section.changes)
    justify: Literal["left", "right"] = "right" if numeric else "left"
    has_difference = any(change.difference is not None for change in section.changes)
    has_note = any(change.note for change in section.changes)
    table.add_column("", overflow="fold")
    table.add_column("before", justify=justify, overflow="fold")
    table.add_column("after", justify=justify, overflow="fold")
    if has_difference:
        table.add_column("change", justify="right", no_wrap=True)
    if has_note:
        table.add_column("", overflow="fold")
    for change in section.changes:
        cells = [escape(change.key), _show(change.before), _show(change.after)]
        cells += [_show_difference(change)] if has_difference else []
        cells += [_show_note(change)] if has_note else []
        table.add_row(*cells)
    return table


def _show(value: Any) -> str:
    match value:
        case None:
            return "[dim]-[/]"
        case bool():
            return str(value).lower()
        case int():
            return f"{value:,}"
        case float():
            return f"{value:,.0f}" if value.is_integer() and abs(value) < 1e15 else f"{value:,.6g}"
        case str() if len(value) in _HASH_LENGTHS and all(c in "0123456789abcdef" for c in value):
            return value[:_HASH_DIGITS]
    return escape(str(value)) or '""'


def _show_difference(change: Change) -> str:
    if change.difference is None:
        return ""
    if isinstance(change.difference, int):
        return f"{change.difference:+,}"
    return f"{change.difference:+,.4g}"


def _show_note(change: Change) -> str:
    colour = _COLOURS.get(change.note.partition(",")[0])
    return f"[{colour}]{escape(change.note)}[/]" if colour else escape(change.note)
