"""The model card of an exported folder: `README.md`, with the front matter that the Hugging Face Hub reads.

Everything in it was measured or recorded; what is not known is left out. Names come from data and configurations, so they are
quoted wherever they stand: in YAML by its own writer, in Markdown as code.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from components.harmless import make_harmless
from components.text.template_choice import AUTO, WITHOUT_OWN

_HANDLE = re.compile(r"hf://([\w.-]+/[\w.-]+)(?:@.*)?")
_IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*")
_SPACE = re.compile(r"[\s\x00-\x1f\x7f]+")
_OVERALL = "overall"
# Of a training's record, by their names there and on the card.
_TRAINING = {
    "steps": "steps",
    "epochs": "epochs",
    "target_tokens_seen": "target tokens seen",
    "trainable_parameters": "trained parameters",
    "total_parameters": "parameters",
    "eval_loss_before": "evaluation loss before, nats a token",
    "eval_loss_after": "evaluation loss after, nats a token",
    "seed": "seed",
    "backend": "backend",
}
_HASHES = {"base_hash": "SHA-256 of the base's weights", "tuned_hash": "SHA-256 of the tuned weights"}


@dataclass(frozen=True, kw_only=True)
class Data:
    """A file that the model was tuned on."""

    name: str
    sha256: str = ""
    rows: Mapping[str, int] | None = None


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One number that an evaluation measured, of the tuned model and of the one that it was tuned from."""

    name: str
    slice_name: str
    value: float
    low: float | None = None
    high: float | None = None
    before: float | None = None


@dataclass(frozen=True, kw_only=True)
class CardFacts:
    """What is known of a tuned model.

    Attributes:
        name: Of the model.
        base_model: The preset that was tuned: a handle, a name or a folder.
        licence: Of the base, an SPDX identifier or another name; empty if not known.
        method: Of tuning, with its options; its `name` is among them. Empty for a model that was not tuned.
        training: Further facts of the training, by name.
        template: How prompts are written, in words or as the template's name.
        data: What it was tuned on.
        split: What the metrics were measured on.
        metrics: What was measured.
        confidence: Of their intervals, between 0 and 1.
        verdict: The gate's, in words; empty if there was none.
        provenance: Run, commit, hashes, by name.
    """

    name: str
    base_model: str
    licence: str = ""
    method: Mapping[str, Any]
    training: Mapping[str, Any]
    template: str = ""
    data: Sequence[Data] = ()
    split: str = ""
    metrics: Sequence[Metric] = ()
    confidence: float = 0.95
    verdict: str = ""
    provenance: Mapping[str, Any]


def render_card(facts: CardFacts) -> str:
    """Returns the card's text."""
    front = yaml.safe_dump(make_front_matter(facts), sort_keys=False, allow_unicode=True, width=10_000)
    return f"---\n{front}---\n\n" + "\n".join(_list_lines(facts)) + "\n"


def describe_training(record: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what a training's record says of the training, by the card's names."""
    return {name: record[key] for key, name in _TRAINING.items() if record.get(key) is not None}


def describe_weights(record: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the hashes in a training's record, by the card's names."""
    return {name: record[key] for key, name in _HASHES.items() if record.get(key)}


def make_front_matter(facts: CardFacts) -> dict[str, Any]:
    """Returns what the Hub reads: only what it has a place for, and a base only if it is on the Hub."""
    method = _flatten(facts.method.get("name", ""))
    front: dict[str, Any] = {"library_name": "transformers", "pipeline_tag": "text-generation"}
    if match := _HANDLE.fullmatch(facts.base_model):
        front |= {"base_model": match[1], "base_model_relation": "finetune"}
    if facts.licence:
        # The Hub knows licences by their SPDX identifiers in small letters, and others by the name that they give themselves.
        is_identifier = _IDENTIFIER.fullmatch(facts.licence)
        named = (
            {"license": facts.licence.lower()} if is_identifier else {"license": "other", "license_name": facts.licence}
        )
        front |= {key: _flatten(value) for key, value in named.items()}
    if method:
        front["tags"] = ["fine-tuned", method]
    names = list(dict.fromkeys(_flatten(data.name) for data in facts.data))
    if names:
        front["datasets"] = names
    measured = [_make_result(metric, facts.confidence) for metric in facts.metrics if metric.slice_name == _OVERALL]
    if measured:
        dataset = {"name": ", ".join(names) or "its own data", "type": names[0] if names else "own"}
        if facts.split:
            dataset["split"] = _flatten(facts.split)
        task = {"type": "text-generation"}
        results = [{"task": task, "dataset": dataset, "metrics": measured}]
        front["model-index"] = [{"name": _flatten(facts.name), "results": results}]
    return front


def name_preset(preset: str) -> str:
    """Returns a handle or a built-in name as it is, and of a path its end: the rest is nobody's business."""
    return preset if "://" in preset else preset.replace("\\", "/").rstrip("/").rpartition("/")[2]


def quote(value: Any) -> str:
    """Returns a value as code in Markdown: nothing in it is read as a link, as HTML or as the end of a table's cell."""
    text = _flatten(value)
    if not text:
        return ""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    space = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{space}{text}{space}{fence}".replace("|", "\\|")


def _list_lines(facts: CardFacts) -> Iterator[str]:
    yield f"# {quote(facts.name)}"
    yield ""
    base = quote(name_preset(facts.base_model))
    yield f"A fine-tuned version of {base}." if facts.method else f"The model {base}, as it is."
    yield ""
    yield "Loaded by transformers, vLLM and others that read this layout:"
    yield ""
    yield "```python"
    yield "from transformers import AutoModelForCausalLM, AutoTokenizer"
    yield ""
    yield 'folder = "."  # or where this folder is'
    yield "tokenizer = AutoTokenizer.from_pretrained(folder)"
    yield "model = AutoModelForCausalLM.from_pretrained(folder)"
    yield "```"
    if facts.template:
        own = f"the model's own chat template, or, if it has none, by {quote(WITHOUT_OWN)}"
        yield ""
        yield f"Prompts were written by {own if facts.template == AUTO else f'the template {quote(facts.template)}'}."
    yield from _list_table("Training", facts.method, facts.training)
    if facts.data:
        yield from ("", "## Data", "", "| file | SHA-256 | rows |", "| --- | --- | --- |")
        for data in facts.data:
            rows = ", ".join(f"{count:,} {word}" for word, count in (data.rows or {}).items())
            yield f"| {quote(data.name)} | {quote(data.sha256)} | {quote(rows)} |"
    yield from _list_evaluation(facts)
    yield from _list_table("Provenance", {}, facts.provenance)


def _list_evaluation(facts: CardFacts) -> Iterator[str]:
    yield from ("", "## Evaluation", "")
    if not facts.metrics:
        yield "None is recorded: this card was written before the model was evaluated, or the model never was."
        yield "`python -m pipeline export MODEL --format hf` writes folder and card again, with what the run's store knows by then."
        return
    if facts.verdict:
        yield f"Verdict of the gate: {quote(facts.verdict)}."
        yield ""
    if facts.split:
        yield f"Measured on the split {quote(facts.split)} of the data above, with {100 * facts.confidence:.4g} % intervals."
        yield ""
    yield "| metric | slice | this model | interval | before tuning |"
    yield "| --- | --- | --- | --- | --- |"
    for metric in facts.metrics:
        interval = "" if metric.low is None or metric.high is None else f"{metric.low:.4g} to {metric.high:.4g}"
        before = "" if metric.before is None else f"{metric.before:.4g}"
        yield f"| {quote(metric.name)} | {quote(metric.slice_name)} | {metric.value:.4g} | {interval} | {before} |"


def _list_table(title: str, method: Mapping[str, Any], facts: Mapping[str, Any]) -> Iterator[str]:
    options = {("method" if name == "name" else f"method: {quote(name)}"): value for name, value in method.items()}
    rows = options | dict(facts)
    known = {name: value for name, value in rows.items() if value not in ("", None)}
    if not known:
        return
    yield from ("", f"## {title}", "", "| | |", "| --- | --- |")
    for name, value in known.items():
        yield f"| {name} | {quote(value)} |"


def _make_result(metric: Metric, confidence: float) -> dict[str, Any]:
    has_interval = metric.low is not None and metric.high is not None
    interval = f" ({100 * confidence:.4g} % interval {metric.low:.4g} to {metric.high:.4g})" if has_interval else ""
    return {"type": _flatten(metric.name), "value": float(metric.value), "name": _flatten(metric.name) + interval}


def _flatten(value: Any) -> str:
    """One line, in which no character commands a terminal or reorders others."""
    return make_harmless(_SPACE.sub(" ", str(value)).strip())
