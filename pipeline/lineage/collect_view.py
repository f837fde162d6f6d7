"""Shows what a collection would remove, or has removed."""

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from pipeline.lineage.collect import Collection
from pipeline.lineage.collect_plan import Plan
from pipeline.lineage.places import shorten
from pipeline.lineage.retention import BLESSED, GOING, PUSHED, RECENT, SHARED
from pipeline.lineage.verify_view import describe_root, format_size

_KEPT = {
    PUSHED: "that pushed models were made from",
    BLESSED: "that blessed models were made from",
    GOING: "of runs that go on, or may",
    RECENT: "that the newest runs of each pipeline have read or written (--keep {keep})",
    SHARED: "that other pipelines have read",
}


def render_plan(plan: Plan, root: str) -> RenderableType:
    """Returns what would go, with sizes, ages and reasons, and what stays."""
    parts = _list_parts(plan, root)
    if plan.candidates or plan.folders:
        parts.append(
            Text.from_markup(f"Would free [bold]{format_size(plan.num_bytes)}[/]. Nothing was removed: give --yes.")
        )
    return Group(*parts)


def render_collection(collection: Collection, root: str) -> RenderableType:
    """Returns what was removed."""
    plan = collection.plan
    parts = _list_parts(plan, root)
    parts += [Text.from_markup(f"[red]not removed[/] {escape(failure)}") for failure in collection.failures]
    if collection.failures:
        parts.append(Text("What could not be removed stays marked; the next collection tries again."))
    elif plan.candidates or plan.folders:
        parts.append(Text.from_markup(f"Freed [bold]{format_size(plan.num_bytes)}[/]; the records stay in the store."))
    return Group(*parts)


def _list_parts(plan: Plan, root: str) -> list[RenderableType]:
    parts: list[RenderableType] = []
    if plan.candidates or plan.folders:
        parts += [_make_table(plan, root), Text()]
    else:
        parts.append(Text("There is nothing to collect."))
    return [*parts, *(Text(line) for line in _list_kept(plan))]


def _make_table(plan: Plan, root: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("age", justify="right", no_wrap=True)
    table.add_column("what", no_wrap=True)
    table.add_column("run", no_wrap=True)
    table.add_column(describe_root(root), overflow="fold")
    last = ""
    for candidate in plan.candidates:
        # The reason is mostly that of the line above.
        reason = "" if candidate.reason == last else f"\n[dim]{escape(candidate.reason)}[/]"
        last = candidate.reason
        table.add_row(
            format_size(candidate.num_bytes),
            format_age(candidate.age_seconds),
            escape(f"{candidate.kind} {candidate.artifact_id}"),
            escape(candidate.run_id),
            f"{escape(shorten(candidate.place, root))}{reason}",
        )
    for folder in plan.folders:
        table.add_row(
            format_size(folder.num_bytes),
            format_age(folder.age_seconds),
            folder.kind,
            "",
            f"{escape(shorten(folder.place, root))}\n[dim]{escape(folder.reason)}[/]",
        )
    return table


def _list_kept(plan: Plan) -> Iterator[str]:
    for reason, words in _KEPT.items():
        if count := plan.kept.get(reason):
            yield f"{count:,} artifacts stay {words.format(keep=plan.keep)}"
    if plan.num_untouchable:
        yield f"{plan.num_untouchable:,} stay that nothing needs: their files are not in this root, or have several owners"


def format_age(seconds: float) -> str:
    """Returns a time in its largest whole unit."""
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:,.0f} {unit}"
    return f"{seconds:.0f} s"
