"""The summary at the end of a run: what went in, what was trained, what it is worth, where it is."""

import itertools
import json
import math
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_metadata.proto import metadata_store_pb2
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from components.metrics.table import make_metrics, read_directions
from components.text import features
from configs.schema import RunConfig
from pipeline import serving
from pipeline.lineage.graph import get_properties
from pipeline.lineage.trace_view import describe_cleaning, describe_receipt
from pipeline.local_runner import RunResult

NUM_SAMPLES = 3


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One completion of the tuned model on a record that it was not trained on."""

    prompt: str
    completion: str
    reference: str


def is_blessed(result: RunResult) -> bool:
    """Returns whether the run's candidate was blessed."""
    return _property(result.artifact("Evaluator", "blessing"), "blessed") == 1


def make_samples(predictions_uri: str, tokenized_uri: str, model_uri: str, split: str) -> list[dict[str, str]]:
    """Returns completions of some records of `split` by an exported model, as the fields of `Sample`.

    They are those that it was evaluated by; where the evaluation needed none, the model is asked.
    """
    fields = ((features.PROMPT, "prompt"), (features.COMPLETION, "completion"), (features.RESPONSE, "reference"))
    found = _read_records(sorted(Path(predictions_uri).glob("predictions*.gz")))
    samples = [{name: _get_text(values, feature) for feature, name in fields} for values in found]
    if samples and all(features.COMPLETION in values for values in found):
        return samples
    records = _read_records(sorted((Path(tokenized_uri) / f"Split-{split}").glob("*")))
    prompts = [_get_text(values, features.PROMPT) for values in records]
    model = serving.load_model(Path(model_uri) / "Format-Serving")
    completions = serving.generate(model, prompts, signature="complete")
    return [
        {"prompt": prompt, "completion": completion, "reference": _get_text(values, features.RESPONSE)}
        for prompt, completion, values in zip(prompts, completions, records, strict=True)
    ]


def _read_records(files: list[Path]) -> list[Any]:
    """The features of the first `NUM_SAMPLES` records."""
    import tensorflow as tf

    from components.datasets import without_autotuning

    records = tf.data.TFRecordDataset([str(file) for file in files], compression_type="GZIP").take(NUM_SAMPLES)
    found = without_autotuning(records).as_numpy_iterator()
    return [tf.train.Example.FromString(serialized).features.feature for serialized in found]


def _get_text(values: Any, name: str) -> str:
    return values[name].bytes_list.value[0].decode("utf-8", "replace") if name in values else ""


def make_summary(config: RunConfig, result: RunResult, samples: list[Sample], growth: str = "") -> RenderableType:
    """Returns the summary as something that rich prints.

    Args:
        config: The run.
        result: What came of it.
        samples: Completions by the new model.
        growth: By how many rows the data differ from the last ones; may be empty.
    """
    examples = result.artifact("ExampleGen", "examples")
    tokenized = result.artifact("Tokenizer", "tokenized_examples")
    model = result.artifact("Trainer", "model")
    facts = Table(show_header=False, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column(overflow="fold")

    def count(artifact: metadata_store_pb2.Artifact, name: str) -> str:
        value = _property(artifact, name)
        return "?" if value is None else f"{value:,}"

    left_out = f", {count(examples, 'rows_left_out')} left out" if _property(examples, "rows_left_out") else ""
    facts.add_row(
        "Rows",
        f"{count(examples, 'rows_read')} read, {count(examples, 'rows_kept')} kept, "
        f"{count(examples, 'rows_quarantined')} quarantined{left_out}{f'; {growth}' if growth else ''}",
    )
    if _property(examples, "rows_quarantined"):
        facts.add_row("", escape(f"quarantine: {examples.uri}/quarantine"))
    facts.add_row(
        "Tokens",
        f"{count(tokenized, 'tokens')}, of which {count(tokenized, 'target_tokens')} targets; "
        f"{count(tokenized, 'examples_truncated')} of {count(tokenized, 'examples')} examples truncated",
    )
    if empty := _property(tokenized, "examples_empty"):
        facts.add_row("", f"[yellow]{empty:,} left out: nothing remains of their response once it is cleaned[/]")
    if cleaned := _property(tokenized, "examples_cleaned"):
        facts.add_row(
            "", f"text of {cleaned:,} examples changed by cleaning ({config.text.cleaning}); the report shows how"
        )
    # The last one is the candidate's; `receipt` shows those of reference models too.
    for receipt in result.nodes["Receipt"].outputs.get("receipt", []) if "Receipt" in result.nodes else []:
        facts.add_row("Receipt", escape(describe_receipt(get_properties(receipt))))
    for node in result.nodes.values():
        if node.node_id.endswith("CleaningReport"):
            facts.add_row("Cleaning", describe_cleaning(get_properties(result.artifact(node.node_id, "report"))))
    trainable, total = _property(model, "trainable_parameters"), _property(model, "total_parameters")
    share = f" ({trainable / total:.2%})" if trainable and total else ""
    facts.add_row(
        "Trained", f"{count(model, 'trainable_parameters')} of {count(model, 'total_parameters')} parameters{share}"
    )
    facts.add_row("", f"method {config.method.name}, {count(model, 'steps')} steps")
    before, after = _property(model, "eval_loss_before"), _property(model, "eval_loss_after")
    if before is not None and after is not None:
        facts.add_row("Eval loss", f"{before:.4f} before, {after:.4f} after")

    predictions = result.artifact("CandidatePredictor", "predictions")
    if cut := _property(predictions, "prompts_cut"):
        facts.add_row(
            "",
            f"[yellow]{cut:,} of {count(predictions, 'examples')} prompts were completed without their beginning: they are longer than "
            f"text.max_length less generation.max_new_tokens. Raise the one or lower the other[/]",
        )
    blessed = is_blessed(result)
    verdict = str(_property(result.artifact("Evaluator", "evaluation_result"), "verdict"))
    facts.add_row("Verdict", f"[{'green' if blessed else 'yellow'}]{escape(verdict)}[/]")
    pushed = result.artifact("Pusher", "pushed_model")
    if _property(pushed, "pushed") == 1:
        earlier = " (by an earlier run; nothing has changed since)" if result.nodes["Pusher"].cached else ""
        destination = str(_property(pushed, "pushed_destination"))
        facts.add_row("Pushed to", escape(f"{destination}{earlier}"))
        if not Path(destination).is_dir():
            facts.add_row("", "[yellow]which somebody has deleted since: copy Format-Serving of the model there[/]")
    else:
        facts.add_row("Pushed", "nothing")
    facts.add_row(
        "Model", escape(f"{model.uri}  (preset/{', adapter/' if config.method.name != 'full' else ''} inside)")
    )
    facts.add_row("Run", f"{result.run_id}, logs {escape(str(result.paths.logs(result.run_id)))}")
    parts: list[RenderableType] = [Text(), facts, Text(), *_make_metrics_tables(config, result)]
    if samples:
        parts += [Text(), _make_samples_table(samples, config.evaluation.split)]
    return Group(*parts)


def _drop_resume(arguments: list[str]) -> list[str]:
    """Returns arguments without `--resume` and its run: one with other settings is a new one."""
    kept: list[str] = []
    is_dropped = False
    for argument in arguments:
        if not (is_dropped and not argument.startswith("-")) and argument.partition("=")[0] != "--resume":
            kept.append(argument)
        is_dropped = argument == "--resume"
    return kept


def list_next_commands(arguments: list[str], result: RunResult, config: RunConfig) -> list[str]:
    """Returns the commands that one tries next, in order, as they can be pasted into the shell at hand.

    Args:
        arguments: Those of this run: configuration, overrides and runner.
        result: What came of it.
        config: The run.
    """
    python = Path(sys.executable)
    # Where the environment is not activated, `python` alone is another one.
    program = str(python.relative_to(Path.cwd())) if python.is_relative_to(Path.cwd()) else "python"
    place = _pick_options(arguments, ("--runner", "--root"))
    name = ["--pipeline", config.pipeline.name]
    is_cleaned = config.token_cleaning.strategy != "none"
    seen = [["tokens", *place, "--run", result.run_id]] if is_cleaned else []
    if is_blessed(result):
        commands = [
            ["generate", *place, *name, "Your instruction here"],
            ["lineage", "show", *place, *name],
            ["run", *_drop_resume(arguments), "--set", f"train.learning_rate={config.train.learning_rate / 2:g}"],
        ]
    else:
        commands = [
            ["lineage", "show", *place, result.artifact("Trainer", "model").uri],
            ["run", *_drop_resume(arguments), "--set", f"train.epochs={config.train.epochs * 2}"],
        ]
    return [shlex.join([program, "-m", "pipeline", *command]) for command in seen + commands]


def _pick_options(arguments: list[str], names: tuple[str, ...]) -> list[str]:
    picked = []
    for option, value in zip(arguments, [*arguments[1:], ""], strict=True):
        if option in names:
            picked += [option, value]
        elif option.startswith(tuple(f"{name}=" for name in names)):
            picked.append(option)
    return picked


def _make_metrics_tables(config: RunConfig, result: RunResult) -> list[RenderableType]:
    """Over the whole split: a row a value, with its interval and its change; then the values of the thresholds by slice."""
    evaluation = result.artifact("Evaluator", "evaluation_result")
    metrics, changes, intervals = (
        json.loads(_property(evaluation, name) or "{}") for name in ("metrics", "changes", "intervals")
    )
    directions = read_directions(make_metrics(config.evaluation.model_dump(mode="json")["metrics"]))
    has_blessed = _property(evaluation, "baseline") == "latest blessed model"
    other = "baseline" if has_blessed else "preset"
    candidate, preset = metrics.get("candidate", {}), metrics.get("preset", {})
    whole = candidate.get("overall", {})
    count = _format(whole.get("example_count"))
    table = _make_table(f"Evaluation on the {config.evaluation.split} split ({count} examples)")
    table.add_column("Value")
    columns = ["Untouched preset", *(["Latest blessed"] if has_blessed else []), "Tuned model"]
    for title in [*columns, f"{config.evaluation.confidence:.0%} interval", "Change", "Interval of the change"]:
        table.add_column(title, justify="right")
    for name in (name for name in directions if name != "example_count"):
        change = changes.get(other, {}).get("overall", {}).get(name, [None, None, None])
        blessed = [_format(metrics.get("baseline", {}).get("overall", {}).get(name))] if has_blessed else []
        table.add_row(
            escape(name),
            _format(preset.get("overall", {}).get(name)),
            *blessed,
            _format(whole.get(name)),
            _format_interval(intervals.get("overall", {}).get(name)),
            _format(change[0], sign=True),
            _format_interval(change[1:], sign=True),
        )
    slices = [name for name in candidate if name != "overall"]
    if not slices:
        return [table]
    names = list(dict.fromkeys(threshold.metric for threshold in config.evaluation.thresholds))
    by_slice = _make_table("By slice: untouched preset → tuned model")
    by_slice.add_column("Slice", overflow="fold")
    for title in ("Examples", *names):
        by_slice.add_column(title, justify="right")
    for slice_name in sorted(slices):
        before, after = preset.get(slice_name, {}), candidate[slice_name]
        pairs = [f"{_format(before.get(name))} → {_format(after.get(name))}" for name in names]
        by_slice.add_row(escape(slice_name), _format(after.get("example_count")), *pairs)
    return [table, Text(), by_slice]


def _make_table(title: str) -> Table:
    return Table(title=title, title_justify="left", title_style="bold")


def _make_samples_table(samples: list[Sample], split: str) -> Table:
    table = Table(title=f"Completions on the {split} split", title_justify="left", title_style="bold", show_lines=True)
    for title in ("Prompt", "Tuned model", "Reference"):
        table.add_column(title, overflow="fold", ratio=2 if title == "Prompt" else 1)
    prompts = _leave_out_what_all_share([sample.prompt for sample in samples])
    for prompt, sample in zip(prompts, samples, strict=True):
        table.add_row(*(Text(_shorten(t)) for t in (prompt, sample.completion, sample.reference)))
    return table


def _leave_out_what_all_share(prompts: Sequence[str]) -> list[str]:
    """Returns prompts without the lines of their template around them, of which `…` is left."""
    if len(set(prompts)) < 2:
        return list(prompts)
    lines = [prompt.split("\n") for prompt in prompts]
    head = _count_shared(lines)
    tail = _count_shared([of_one[head:][::-1] for of_one in lines])
    dots = (["…"] * (head > 0), ["…"] * (tail > 0))
    return ["\n".join([*dots[0], *of_one[head : len(of_one) - tail], *dots[1]]) for of_one in lines]


def _count_shared(lists: Sequence[Sequence[str]]) -> int:
    """How many items all begin with."""
    alike = (len(set(items)) == 1 for items in zip(*lists, strict=False))
    return sum(itertools.takewhile(bool, alike))


def _format(value: float | None, sign: bool = False) -> str:
    if value is None:
        return "-"
    plus = "+" if sign else ""
    if not math.isfinite(value):
        return str(value)
    return f"{value:{plus},.0f}" if value == int(value) and abs(value) > 1 else f"{value:{plus}.4g}"


def _format_interval(ends: list[float] | None, sign: bool = False) -> str:
    low, high = ends or (None, None)
    return "-" if low is None else f"{_format(low, sign)} … {_format(high, sign)}"


def _shorten(text: str, limit: int = 300) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _property(artifact: metadata_store_pb2.Artifact, name: str) -> Any:
    for properties in (artifact.custom_properties, artifact.properties):
        if name in properties:
            value = properties[name]
            return getattr(value, value.WhichOneof("value"))
    return None
