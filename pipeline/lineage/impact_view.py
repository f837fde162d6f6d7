"""Shows what depends on something: the models, newest first, and what to run again."""

import shlex
from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from pipeline.lineage.cause import COMMIT, EXAMPLE
from pipeline.lineage.impact import MEASURED, SELECTED, TRAINED, AffectedModel, Counts, Impact, RanNodes
from pipeline.lineage.rerun import Rerun
from pipeline.lineage.times import humanize

_MAX_DETAILS = 10
_COMMAND_WIDTH = 80
_NO_MODEL = "No model was made from it."


def render(impact: Impact) -> RenderableType:
    """Returns counts, the models, and the commands."""
    parts: list[RenderableType] = [Text.from_markup("\n".join(_list_head(impact)))]
    if impact.models:
        parts += [Text(), _make_table(impact)]
        if (hidden := _count_all(impact.counts) - len(impact.models)) > 0:
            parts.append(Text(f"  and {hidden:,} older; --all shows them"))
    parts += [part for rerun in impact.reruns for part in (Text(), _render_rerun(rerun))]
    word = "Newest run" if impact.kind == COMMIT else "Run"
    parts += [part for ran in impact.ran for part in (Text(), _render_ran(ran, word))]
    if impact.kind == COMMIT:
        parts.append(
            Text("Whose code has changed with it, the store does not know: only which nodes ran with it.", "dim")
        )
    return Group(*parts)


def _count_all(counts: Counts) -> int:
    return counts.models + counts.for_other_models


def _list_head(impact: Impact) -> Iterator[str]:
    yield f"[bold]{escape(impact.subject)}[/] is {escape(impact.reason)}"
    yield from (f"  {escape(detail)}" for detail in impact.details[:_MAX_DETAILS])
    if (hidden := len(impact.details) - _MAX_DETAILS) > 0:
        yield f"  and {hidden:,} more (--json)"
    counts = impact.counts
    if not counts.models and not counts.for_other_models:
        yield _NO_MODEL
        return
    if impact.kind == EXAMPLE:
        yield from _list_uses(counts)
        yield f"{counts.blessed:,} of them blessed, {counts.pushed:,} pushed"
    else:
        words = f"{counts.models:,} {'model' if counts.models == 1 else 'models'}"
        others = f" (and {counts.for_other_models:,} only for the training of these)" if counts.for_other_models else ""
        yield f"[bold]{words}[/] made from it{others}: {counts.blessed:,} blessed, {counts.pushed:,} pushed"
    for model in impact.production:
        newest = model.pushes[0]
        where = f"version {newest.version} at {newest.destination}"
        yield f"[red]In production[/]: artifact {model.artifact_id}, pipeline {escape(model.pipeline_name)}, {escape(where)}"
    if not impact.production:
        yield "None of them is in production"


def _list_uses(counts: Counts) -> Iterator[str]:
    words = {
        TRAINED: "[bold]{} trained on it[/]",
        SELECTED: "{} did not train on it: it is in the split that decides when training stops",
        MEASURED: "{} did not train on it: it was held out, for measuring only",
    }
    for use, count in counts.by_use.items():
        yield words[use].format(f"{count:,} {'model' if count == 1 else 'models'}")


def _make_table(impact: Impact) -> Table:
    table = Table(box=None, padding=(0, 2), pad_edge=False)
    titles = ["model", "made", "run", *(["use"] if impact.kind == EXAMPLE else []), "verdict", "pushed"]
    for title in titles:
        table.add_column(title, no_wrap=title in ("model", "made", "run"), overflow="fold")
    for model in impact.models:
        cells = [
            f"{model.artifact_id} [dim]{escape(model.method)}[/]",
            humanize(model.created_at),
            _describe_run(model),
        ]
        if impact.kind == EXAMPLE:
            cells.append(model.use)
        table.add_row(*cells, _describe_verdict(model), _describe_pushes(model))
    return table


def _describe_run(model: AffectedModel) -> str:
    lines = [escape(model.run_id), f"[dim]{escape(model.pipeline_name)}[/]"]
    if model.for_other_models:
        lines.append(f"[dim]{escape(model.node)}[/]")
    lines += [f"[dim]also {escape(run)} (cached)[/]" for run in model.also_in[:3]]
    if len(model.also_in) > 3:
        lines.append(f"[dim]and {len(model.also_in) - 3:,} more (cached)[/]")
    return "\n".join(lines)


def _describe_verdict(model: AffectedModel) -> str:
    if model.for_other_models:
        return "[dim]only for another training[/]"
    return {True: "[green]blessed[/]", False: "[red]not blessed[/]", None: "[dim]not evaluated[/]"}[model.blessed]


def _describe_pushes(model: AffectedModel) -> str:
    if not model.pushes:
        return "[dim]no[/]"
    newest = model.pushes[0]
    lines = [f"version {escape(newest.version)}" + (" [red]in production[/]" if model.in_production else "")]
    if len(model.pushes) > 1:
        lines.append(f"[dim]{len(model.pushes)} times[/]")
    return "\n".join(lines)


def _render_rerun(rerun: Rerun) -> RenderableType:
    text = Text.from_markup(f"[bold]If it changes[/], in the pipeline [bold]{escape(rerun.pipeline_name)}[/]:")
    if not rerun.nodes:
        return text.append(" nothing runs again")
    lines = _wrap_command(rerun.command) if rerun.command else [f"from {', '.join(rerun.from_nodes)}"]
    lines.append(f"runs {', '.join(rerun.nodes)}")
    if rerun.cached_nodes:
        lines.append(f"from the cache: {', '.join(rerun.cached_nodes)}")
    # No markup: it would take the shell's mark at the end of a line for its own.
    text.append("".join(f"\n  {line}" for line in lines))
    text.append(f"\n  by the graph of run {rerun.run_id}", "dim")
    for note in rerun.notes:
        text.append(f"\n  {note}", "yellow")
    return text


def _wrap_command(command: str) -> list[str]:
    """Breaks a command so that the lines can be pasted together: at options, with the shell's own mark."""
    lines = [""]
    for word in shlex.split(command):
        is_option = word.startswith("--")
        if is_option and len(lines[-1]) > _COMMAND_WIDTH:
            lines[-1] += " \\"
            lines.append("   ")
        lines[-1] = f"{lines[-1]} {shlex.quote(word)}".removeprefix(" " * (len(lines) == 1))
    return lines


def _render_ran(ran: RanNodes, word: str) -> RenderableType:
    lines = [
        f"{word} {escape(ran.run_id)} of the pipeline [bold]{escape(ran.pipeline_name)}[/]:",
        f"  ran {escape(', '.join(ran.nodes) or 'nothing')}",
    ]
    if ran.cached_nodes:
        lines.append(f"  from the cache: {escape(', '.join(ran.cached_nodes))}")
    return Text.from_markup("\n".join(lines))
