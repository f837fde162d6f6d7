"""The model card of a bill of materials: what was trained on what, and what the evaluation has measured."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.lineage.export.canonical import to_text
from pipeline.lineage.export.components import find_base, make_data_ref, make_properties
from pipeline.lineage.graph import Properties, Trace
from pipeline.lineage.recorded import read_config, read_json

_CANDIDATE = "candidate"
_OVERALL = "overall"
# The template of bare texts: there the model learns from the text itself.
_PLAIN_TEXT = "text"


def make_model_card(trace: Trace) -> dict[str, Any]:
    """Returns the card; only what the store (and the preset's folder, for the architecture) says is in it."""
    parameters: dict[str, Any] = {
        "task": "text-generation",
        "architectureFamily": "transformer",
        "inputs": [{"format": "string"}],
        "outputs": [{"format": "string"}],
    }
    if approach := _find_approach(trace.run.config):
        parameters["approach"] = {"type": approach}
    if architecture := _read_architecture(find_base(trace)):
        parameters["modelArchitecture"] = architecture
    if trace.data:
        parameters["datasets"] = [{"ref": ref} for ref in dict.fromkeys(make_data_ref(file) for file in trace.data)]
    card: dict[str, Any] = {"modelParameters": parameters}
    recorded = find_evaluation(trace)
    if metrics := list(_list_metrics(trace, recorded)):
        card["quantitativeAnalysis"] = {"performanceMetrics": metrics}
    if facts := _list_facts(trace, recorded):
        card["properties"] = make_properties(facts)
    return card


def _list_metrics(trace: Trace, recorded: Properties) -> Iterator[dict[str, Any]]:
    measured = trace.evaluation.metrics.get(_CANDIDATE, {}) if trace.evaluation else {}
    intervals = read_json(recorded.get("intervals"), dict)
    for slice_name, values in sorted(measured.items()):
        for name, value in sorted(values.items()):
            metric: dict[str, Any] = {"type": name, "value": to_text(value)}
            if slice_name != _OVERALL:
                metric["slice"] = slice_name
            low, high = intervals.get(slice_name, {}).get(name, (None, None))
            # How many examples there are is known.
            if low is not None and high is not None and name != "example_count":
                metric["confidenceInterval"] = {"lowerBound": to_text(low), "upperBound": to_text(high)}
            yield metric


def _list_facts(trace: Trace, recorded: Properties) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    if trace.evaluation:
        facts["evaluation:verdict"] = trace.evaluation.verdict or trace.evaluation.reason
        if trace.evaluation.blessed is not None:
            facts["evaluation:blessed"] = trace.evaluation.blessed
        # An older evaluation's `baseline` may be missing.
        if "baseline" in recorded:
            facts["evaluation:baseline"] = recorded["baseline"]
    for report in trace.token_cleaning:
        prefix = f"token-cleaning:{report.properties.get('round', report.id)}"
        facts |= {f"{prefix}:{name}": value for name, value in report.properties.items() if name != "round"}
    for receipt in trace.receipts:
        prefix = f"receipt:{receipt.properties.get('split', receipt.id)}"
        facts |= {f"{prefix}:{name}": value for name, value in receipt.properties.items() if name != "split"}
    return facts


def find_evaluation(trace: Trace) -> Properties:
    """Returns what the evaluation of a traced model has recorded; nothing if there was none."""
    judged = (step for step in trace.steps if any(artifact.type == "ModelBlessing" for artifact in step.outputs))
    step = next(judged, None)
    found = [artifact for artifact in step.outputs if artifact.type == "ModelEvaluation"] if step else []
    return found[0].properties if found else {}


def _find_approach(config: str) -> str:
    """Answers to prompts are labels; bare texts are their own."""
    text = read_config(config).get("text")
    if not isinstance(text, dict) or "template" not in text:
        return ""
    template = text["template"]
    return "self-supervised" if template == _PLAIN_TEXT else "supervised"


def _read_architecture(preset: str) -> str:
    """Returns the class of the preset's backbone, if it is a folder here."""
    try:
        parsed = json.loads(Path(preset, "config.json").read_text(encoding="utf-8"))
        return str(parsed["class_name"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
