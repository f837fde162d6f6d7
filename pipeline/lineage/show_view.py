"""Shows what `show` has found: a run's nodes, and the chain of a model."""

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from pipeline.lineage import trace_view
from pipeline.lineage.graph import Step
from pipeline.lineage.runs import RunSummary
from pipeline.lineage.runs_view import STATE_STYLES
from pipeline.lineage.show import Shown
from pipeline.lineage.times import format_duration


def render(shown: Shown) -> RenderableType:
    """Returns the run with its nodes if one was asked about, then the chain of the model or artifact."""
    parts: list[RenderableType] = []
    if shown.run:
        parts += [_render_facts(shown.run), Text(), _make_nodes_table(shown.steps), Text()]
        if shown.trace:
            parts += [Text("The model that it trained", style="bold"), Text()]
    if shown.trace:
        parts.append(trace_view.render(shown.trace))
    if shown.others:
        parts += [Text(), Text(f"{shown.others:,} more fit; `lineage impact` shows what was made from all of them.")]
    return Group(*parts)


def _render_facts(run: RunSummary) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for title, text in _list_facts(run):
        table.add_row(title, text)
    return table


def _list_facts(run: RunSummary) -> Iterator[tuple[str, str]]:
    yield "Run", escape(run.id)
    yield "Pipeline", escape(f"{run.pipeline_name}, {run.runner or 'unknown'} runner")
    took = f", {format_duration(run.seconds)}" if run.seconds is not None else ""
    yield "State", f"[{STATE_STYLES.get(run.state, 'yellow')}]{run.state}[/], started {run.started_at}{took}"
    if run.reason:
        yield "Reason", escape(run.reason)
    if run.method:
        yield "Method", escape(f"{run.method}, preset {run.preset}, config {run.config_name}")
    if run.verdict:
        yield "Verdict", escape(run.verdict)
    if run.pushed:
        yield "Pushed to", escape(run.pushed)


def _make_nodes_table(steps: tuple[Step, ...]) -> RenderableType:
    if not steps:
        return Text("No node has started.")
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for title in ("Node", "State"):
        table.add_column(title, no_wrap=True)
    table.add_column("Time", justify="right", no_wrap=True)
    table.add_column("Wrote", overflow="fold")
    for step in steps:
        wrote = ", ".join(f"{artifact.type} {artifact.id}" for artifact in step.outputs)
        table.add_row(
            escape(step.node),
            f"[{STATE_STYLES.get(step.state, 'dim')}]{step.state}[/]",
            "" if step.state == "cached" else format_duration(step.duration_seconds),
            escape(wrote),
        )
    return table
