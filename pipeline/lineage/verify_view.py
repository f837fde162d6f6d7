"""Shows a verification: what is wrong first, and how much was in order."""

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from pipeline.lineage.contents import Check, State
from pipeline.lineage.orphans import Orphan
from pipeline.lineage.places import shorten
from pipeline.lineage.verify import Verification

_STYLES = {
    State.OK: "green",
    State.CHANGED: "red",
    State.MISSING: "red",
    State.UNREADABLE: "red",
    State.UNVERIFIABLE: "yellow",
}
_SHOWN_DETAILS = 5
_SHOWN_ORPHANS = 30


def render(found: Verification, root: str, *, show_all: bool = False) -> RenderableType:
    """Returns what is not as recorded, orphans, and the numbers of all.

    Args:
        found: The verification.
        root: Of the runner; places are shown from there on.
        show_all: Whether to show also what is in order.
    """
    parts: list[RenderableType] = []
    shown = found.checks if show_all else found.wrong
    if shown:
        parts += [_make_checks_table(shown, root), Text()]
    if found.orphans:
        parts += [_make_orphans_table(found.orphans, root), Text()]
    parts += [Text.from_markup(line) for line in _list_totals(found)]
    return Group(*parts)


def _make_checks_table(checks: Sequence[Check], root: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("state", no_wrap=True)
    table.add_column("what", no_wrap=True)
    table.add_column(describe_root(root), overflow="fold")
    for check in checks:
        style = _STYLES[check.state]
        lines = [escape(shorten(check.place, root)), *(f"[dim]{escape(line)}[/]" for line in _list_details(check))]
        kind = f"{check.kind} {check.artifact_id}" if check.kind[:1].isupper() else check.kind
        table.add_row(f"[{style}]{check.state}[/]", escape(kind), "\n".join(lines))
    return table


def _list_details(check: Check) -> Iterator[str]:
    yield from check.details[:_SHOWN_DETAILS]
    if len(check.details) > _SHOWN_DETAILS:
        yield f"and {len(check.details) - _SHOWN_DETAILS} more (all: --json)"
    if check.state is State.CHANGED:
        yield f"recorded {check.recorded_sha256[:12]}, found {check.found_sha256[:12]}"


def _make_orphans_table(orphans: Sequence[Orphan], root: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("orphaned", no_wrap=True, justify="right")
    table.add_column(describe_root(root), overflow="fold")
    largest = sorted(orphans, key=lambda orphan: -orphan.num_bytes)
    for orphan in largest[:_SHOWN_ORPHANS]:
        table.add_row(
            format_size(orphan.num_bytes), f"{escape(shorten(orphan.place, root))}\n[dim]{escape(orphan.reason)}[/]"
        )
    if more := largest[_SHOWN_ORPHANS:]:
        size = format_size(sum(orphan.num_bytes for orphan in more))
        table.add_row(size, f"[dim]{len(more)} more (all: --json)[/]")
    return table


def _list_totals(found: Verification) -> Iterator[str]:
    by_state = {state: [check for check in found.checks if check.state is state] for state in State}
    size = format_size(sum(check.num_bytes for check in by_state[State.OK]))
    yield f"[green]{len(by_state[State.OK])}[/] as recorded ({size})"
    for state in (State.CHANGED, State.MISSING, State.UNREADABLE):
        if checks := by_state[state]:
            yield f"[red]{len(checks)}[/] {state}"
    if checks := by_state[State.UNVERIFIABLE]:
        yield f"[yellow]{len(checks)}[/] there, but no hash was recorded of them"
    if found.num_collected:
        yield f"{found.num_collected} whose files were collected (`lineage gc`)"
    if found.orphans:
        total = format_size(sum(orphan.num_bytes for orphan in found.orphans))
        yield f"[yellow]{len(found.orphans)}[/] orphaned ({total}): nothing in the store names them"
        if any(orphan.is_leftover for orphan in found.orphans):
            yield "`lineage gc --orphans` removes what executions have left, a day later"


def describe_root(root: str) -> str:
    """Returns the title of a column of places."""
    return escape(f"where, below {root}")


def format_size(num_bytes: float) -> str:
    """Returns a size with a binary unit."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if num_bytes < 1024:
            return f"{num_bytes:,.0f} {unit}" if unit == "B" else f"{num_bytes:,.1f} {unit}"
        num_bytes /= 1024
    return f"{num_bytes:,.1f} TiB"
