"""Shows a trace: for people the chain and its metrics, for programs JSON."""

import hashlib
import re
from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from pipeline.lineage.graph import Artifact, DataFile, Evaluation, Properties, Run, Step, Trace
from pipeline.lineage.times import humanize

# The gate's sentence begins with what stands before it already.
_SAME_WORDS = re.compile(r"^(Not b|B)lessed[:,] ")
# Which recorded properties of the trained model stand in the table, in this order. JSON shows all.
_MODEL_FACTS = {
    "method": "{}",
    "preset": "preset {}",
    "preset_revision": "commit {:.12}",
    "base_hash": "base {:.12}",
    "trainable_parameters": "{:,} trainable",
    "total_parameters": "of {:,} parameters",
    "steps": "{:,} steps",
    "seed": "seed {}",
    "eval_loss_before": "eval loss {:.4f}",
    "eval_loss_after": "then {:.4f}",
}


def render(trace: Trace) -> RenderableType:
    """Returns the chain from the model down to the data file, and the metrics that the verdict rests on."""
    chain = Table.grid(padding=(0, 2))
    chain.add_column(style="bold", no_wrap=True)
    chain.add_column(overflow="fold")
    for title, *lines in _list_rows(trace):
        chain.add_row(title, "\n".join(lines))
    if trace.evaluation and trace.evaluation.metrics:
        return Group(chain, Text(), _make_metrics_table(trace.evaluation))
    return chain


def _list_rows(trace: Trace) -> Iterator[tuple[str, ...]]:
    if trace.pushed:
        version = trace.pushed.properties.get("pushed_version", "unknown")
        yield "Pushed model", _describe_place(trace.pushed), f"version {version}, {humanize(trace.pushed.created_at)}"
    collected = ["[yellow]its files were collected[/]"] if trace.artifact.is_collected else []
    if trace.artifact.type == "Model":
        not_pushed = [] if trace.pushed else ["[yellow]not pushed[/]"]
        yield "Trained model", escape(trace.artifact.uri), *not_pushed, *collected
    else:
        yield trace.artifact.type, escape(trace.artifact.uri), f"artifact {trace.artifact.id}", *collected
    for run in trace.runs:
        yield "Run" if run is trace.run else "Earlier run", *_describe_run(run)
    for step in trace.steps:
        yield f"← {step.node}", _describe_step(step, trace)
    for report in trace.token_cleaning:
        recorded = report.properties
        yield "Token cleaning", f"{recorded['strategy']}, {describe_cleaning(recorded)}", *_list_reference(recorded)
    for receipt in trace.receipts:
        yield "Receipt", escape(describe_receipt(receipt.properties))
    for data in trace.data:
        yield "← Data file", *_describe_data(data)
    if not trace.data:
        yield "← Data file", "[yellow]not recorded[/]"


def _describe_place(pushed: Artifact) -> str:
    return escape(str(pushed.properties.get("pushed_destination", pushed.uri)))


def _describe_run(run: Run) -> Iterator[str]:
    yield escape(f"{run.id}, pipeline {run.pipeline_name}")
    if run.config:
        digest = hashlib.sha256(run.config.encode()).hexdigest()
        yield escape(f"config {run.config_path}, resolved sha256 {digest[:12]} (text: --json)")
    dirty = " [yellow]with uncommitted changes[/]" if run.code_dirty else ""
    lock = f", requirements.txt sha256 {run.lock_sha256[:12]}" if run.lock_sha256 else ""
    yield f"code {escape(run.code_version[:12])}{dirty}{lock}"
    if run.hardware:
        yield escape(run.hardware)


def _describe_step(step: Step, trace: Trace) -> str:
    facts = [f"{step.duration_seconds:,.1f} s"]
    if any(artifact.id == trace.artifact.id for artifact in step.outputs):
        facts += [escape(fact) for fact in _list_model_facts(trace.artifact)]
    evaluation = trace.evaluation
    if evaluation and any(artifact.type == "ModelBlessing" for artifact in step.outputs):
        verdict = {True: "[green]blessed[/]", False: "[red]not blessed[/]", None: "no blessing recorded"}
        reason = _SAME_WORDS.sub("", evaluation.verdict or evaluation.reason)
        facts += [verdict[evaluation.blessed], escape(reason)]
    if step.reused:
        facts.append(f"[dim]reused from run {escape(step.run_id)}[/]")
    if any(artifact.is_collected for artifact in step.outputs):
        facts.append("[dim]files collected[/]")
    return ", ".join(fact for fact in facts if fact)


def describe_cleaning(recorded: Properties) -> str:
    """Returns what a cut has kept, from the properties of its report; random numbers have no cut worth a mention."""
    facts = [
        f"round {recorded['round']}: kept {recorded['kept_share']:.2%} of {recorded['num_response_tokens']:,} response tokens"
    ]
    if "threshold" in recorded and recorded["strategy"] != "random":
        facts.append(f"cut at {recorded['threshold']:.4g} nats")
    return ", ".join(facts)


def describe_receipt(recorded: Properties) -> str:
    """Returns what the loss of a training saw, from the properties of its receipt."""
    rows = recorded.get("rows", 0)
    facts = [
        f"{recorded.get('split', 'train')}: {recorded.get('supervised_tokens', 0):,} supervised tokens in {rows:,} rows",
        f"end token in {recorded.get('rows_with_supervised_end_token', 0) / max(rows, 1):.1%} of them",
    ]
    if recorded.get("warnings"):
        facts.append(f"warned of {recorded['warnings']}")
    return ", ".join(facts)


def _list_reference(recorded: Properties) -> Iterator[str]:
    if recorded.get("reference"):
        yield escape(f"reference {recorded['reference']}")


def _list_model_facts(model: Artifact) -> Iterator[str]:
    for key, pattern in _MODEL_FACTS.items():
        if key in model.properties:
            try:
                yield pattern.format(model.properties[key])
            except ValueError:  # recorded as text by an older version: shown as it stands
                yield f"{key} {model.properties[key]}"


def _describe_data(data: DataFile) -> Iterator[str]:
    yield escape(data.path)
    yield f"sha256 {escape(data.sha256)}"
    rows = ", ".join(f"{count:,} {word}" for word, count in data.rows.items())
    splits = ", ".join(f"{split} {count:,}" for split, count in data.rows_by_split.items())
    if rows or splits:
        yield "rows: " + "; ".join(text for text in (rows, splits) if text)


def _make_metrics_table(evaluation: Evaluation) -> Table:
    models: list[str] = [name for name in ("preset", "baseline", "candidate") if name in evaluation.metrics]
    models += [name for name in evaluation.metrics if name not in models]
    table = Table(
        title="Metrics over the whole split (by slice: --json)",
        title_justify="left",
        title_style="bold",
        box=None,
        padding=(0, 2),
    )
    table.add_column("metric")
    for model in models:
        table.add_column(model, justify="right", style="bold" if model == "candidate" else None)
    overall = {model: evaluation.metrics[model].get("overall", {}) for model in models}
    for metric in dict.fromkeys(metric for values in overall.values() for metric in values):
        table.add_row(escape(metric), *(_format_number(overall[model].get(metric)) for model in models))
    return table


def _format_number(value: object) -> str:
    if isinstance(value, int | float):
        return f"{value:,.4f}" if isinstance(value, float) and not value.is_integer() else f"{int(value):,}"
    return "-" if value is None else escape(str(value))
