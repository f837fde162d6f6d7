"""What the store knows of a model, for the card of its exported folder."""

import posixpath
from collections.abc import Iterator
from typing import Any

from components.export.hugging_face.card import CardFacts, Data, Metric, describe_training, describe_weights
from pipeline.lineage.export.components import find_base
from pipeline.lineage.export.licences import read_licences
from pipeline.lineage.export.model_card import find_evaluation
from pipeline.lineage.graph import DataFile, Trace
from pipeline.lineage.recorded import read_config, read_json

_CANDIDATE, _PRESET = "candidate", "preset"
_OVERALL = "overall"
# Counted, not measured.
_COUNTS = ("example_count",)


def make_card_facts(trace: Trace) -> CardFacts:
    """Returns what a trace says of its model; what it does not say is left out."""
    recorded, config = trace.artifact.properties, read_config(trace.run.config)
    stated = config.get("method")
    method: dict[str, Any] = stated if isinstance(stated, dict) else {"name": recorded.get("method", "")}
    model, text, evaluation = (config.get(name) or {} for name in ("model", "text", "evaluation"))
    base = find_base(trace)
    return CardFacts(
        name=f"{trace.run.pipeline_name or 'model'} {trace.run.id}".strip(),
        base_model=base,
        licence=_find_licence(base),
        method=method,
        training=describe_training(recorded) | {"dtype": model.get("dtype", ""), "hardware": trace.run.hardware},
        template=str(text.get("template", "")),
        data=tuple(_make_data(file) for file in trace.data),
        split=str(evaluation.get("split", "") or "test") if trace.evaluation else "",
        metrics=tuple(_list_metrics(trace)),
        confidence=_read_confidence(evaluation),
        verdict=_describe_verdict(trace),
        provenance={
            "run": trace.run.id,
            "pipeline": trace.run.pipeline_name,
            "trained at": trace.artifact.created_at,
            "commit": trace.run.code_version,
            "uncommitted changes": {True: "yes", False: "no", None: ""}[trace.run.code_dirty],
        }
        | describe_weights(recorded),
    )


def _read_confidence(evaluation: dict[str, Any]) -> float:
    stated = evaluation.get("confidence")
    return stated if isinstance(stated, float) and 0 < stated < 1 else 0.95


def _list_metrics(trace: Trace) -> Iterator[Metric]:
    if trace.evaluation is None:
        return
    intervals = read_json(find_evaluation(trace).get("intervals"), dict)
    before = trace.evaluation.metrics.get(_PRESET, {})
    measured = trace.evaluation.metrics.get(_CANDIDATE, {})
    for slice_name in sorted(measured, key=lambda name: (name != _OVERALL, name)):
        for name, value in sorted(measured[slice_name].items()):
            if name in _COUNTS or value is None:
                continue
            low, high = intervals.get(slice_name, {}).get(name, (None, None))
            yield Metric(
                name=name,
                slice_name=slice_name,
                value=value,
                low=low,
                high=high,
                before=before.get(slice_name, {}).get(name),
            )


def _describe_verdict(trace: Trace) -> str:
    if trace.evaluation is None:
        return ""
    state = {True: "blessed", False: "not blessed", None: ""}[trace.evaluation.blessed]
    return ": ".join(filter(None, (state, trace.evaluation.verdict or trace.evaluation.reason)))


def _make_data(file: DataFile) -> Data:
    # The name alone: the folders of whoever has trained are nobody's business.
    name = posixpath.basename(file.path.rstrip("/")) or "data"
    return Data(
        name=name, sha256=file.sha256, rows=file.rows | {f"in {split}": n for split, n in file.rows_by_split.items()}
    )


def _find_licence(base: str) -> str:
    for found in read_licences(base):
        stated = found["license"]
        if "text" not in stated:
            return str(stated.get("id") or stated.get("name") or "")
    return ""
