"""Shows runs as a table."""

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from pipeline.lineage.runs import COMPLETE, DEAD, FAILED, RUNNING, SKIPPED, RunSummary
from pipeline.lineage.times import format_duration

STATE_STYLES = {COMPLETE: "green", FAILED: "red", DEAD: "red", RUNNING: "cyan", SKIPPED: "dim"}
# Metrics that are counts, and so say nothing of a model.
_NO_METRICS = ("example_count",)
_NUM_METRICS = 2


def render(runs: list[RunSummary], is_cut: bool = False) -> RenderableType:
    """Returns a row a run, the newest first; of the metrics, the two that most runs have.

    Args:
        runs: What is shown.
        is_cut: Whether there may be more.
    """
    if not runs:
        return Text("The store holds no such run.")
    metrics = _choose_metrics(runs)
    # A pipeline is mostly named as its configuration is, which is the better name to go on with.
    named_apart = any(run.pipeline_name.replace("_", "-") != run.config_name.replace("_", "-") for run in runs)
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for title in ("Run", "Outcome", "Started (UTC)"):
        table.add_column(title, no_wrap=True)
    table.add_column("Time", justify="right", no_wrap=True)
    for title in (["Pipeline"] if named_apart else []) + ["Config", "Method"]:
        table.add_column(title)
    for name in metrics:
        table.add_column(escape(name.replace("_", " ")), justify="right", no_wrap=True)
    for run in runs:
        table.add_row(
            escape(run.id),
            _describe_outcome(run),
            run.started_at[:16].replace("T", " "),
            "" if run.seconds is None else format_duration(run.seconds),
            *([escape(run.pipeline_name)] if named_apart else []),
            escape(run.config_name),
            escape(run.method),
            *(f"{run.metrics[name]:.4g}" if name in run.metrics else "" for name in metrics),
        )
    told = f"{len(runs):,} run{'s' if len(runs) > 1 else ''}{', the newest (--all: all)' if is_cut else ''}. `lineage show RUN` shows one."
    return Group(table, Text(), Text(told))


def _choose_metrics(runs: list[RunSummary]) -> list[str]:
    counts: dict[str, int] = {}
    for run in runs:
        for name in run.metrics:
            if name not in _NO_METRICS:
                counts[name] = counts.get(name, 0) + 1
    return sorted(counts, key=lambda name: -counts[name])[:_NUM_METRICS]


def _describe_outcome(run: RunSummary) -> str:
    """What the gate said says more than that the run came to its end."""
    if run.state != COMPLETE or run.blessed is None:
        return f"[{STATE_STYLES.get(run.state, 'yellow')}]{run.state}[/]"
    if not run.blessed:
        return "[yellow]not blessed[/]"
    return f"[green]{'pushed' if run.pushed else 'blessed'}[/]"
