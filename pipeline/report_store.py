"""What a run's report tells: found in the metadata store and in the files that it names. Needs no TensorFlow."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ml_metadata.metadata_store.metadata_store import ListOptions, MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

from components import storage
from components.errors import UserError
from pipeline.lineage.graph import Properties, Trace, get_properties
from pipeline.lineage.trace import trace
from pipeline.receipt_report import Receipt, read_receipt
from pipeline.receipt_store import list_places

_EVALUATIONS = ListOptions(filter_query="type = 'ModelEvaluation' AND state = LIVE")


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """One run, from its data to its verdict.

    Attributes:
        run_id: Of the run.
        pipeline_name: Its pipeline.
        evaluation: What `metrics.json` of the evaluation holds.
        examples: What `examples.json` holds: `gained` and `lost`.
        training: What the model's `training_record.json` holds; empty if that file is gone.
        counts: Properties of the run's raw and tokenized examples, merged.
        lengths: What the tokenizer's `lengths/train.json` holds: examples by part and bin; empty if that file is gone.
        text_changes: What cleaning of text has changed in the training split, by kind: `examples` and, as pairs, what is `shown`.
        cleaning: Properties of the reports of token cleaning, in the order of the rounds.
        receipts: What the loss of each training sees, by node in the order of the trainings; without those that are gone.
        lineage: The model's chain.
    """

    run_id: str
    pipeline_name: str
    evaluation: dict[str, Any]
    examples: dict[str, list[dict[str, Any]]]
    training: dict[str, Any]
    counts: Properties
    lengths: dict[str, int]
    text_changes: dict[str, Any]
    cleaning: list[Properties]
    receipts: dict[str, Receipt]
    lineage: Trace


def load_report(store: MetadataStore, run_id: str | None = None, pipeline_name: str | None = None) -> RunReport:
    """Returns the report of a run; without `run_id`, of the newest evaluated run (of the pipeline).

    Raises:
        UserError: There is no such run, it has not been evaluated, or its files are gone.
    """
    found = []
    for artifact in store.get_artifacts(_EVALUATIONS):
        contexts = store.get_contexts_by_artifact(artifact.id)
        if "verdict" not in get_properties(artifact):
            continue  # a benchmark's
        name = next((context.name for context in contexts if context.type == "pipeline"), "(unnamed)")
        found += [(context, name, artifact) for context in contexts if context.type == "pipeline_run"]
    found.sort(key=lambda item: (item[0].create_time_since_epoch, item[0].id), reverse=True)
    chosen = [
        item
        for item in found
        if (run_id is None or item[0].name == run_id) and (pipeline_name is None or item[1] == pipeline_name)
    ]
    if not chosen:
        known = ", ".join(item[0].name for item in found[:5]) or "none"
        raise UserError(
            f"--run and --pipeline must fit a run that has been evaluated. Received: {run_id or 'any run'} of "
            f"{pipeline_name or 'any pipeline'}. Evaluated runs, newest first: {known}."
        )
    run, name, evaluation = chosen[0]
    model_uri = _find_model_uri(store, evaluation)
    artifacts = store.get_artifacts_by_context(run.id)
    data = list_data(artifacts)
    cleaning = [said for artifact in artifacts if "kept_share" in (said := get_properties(artifact))]
    return RunReport(
        run_id=run.name,
        pipeline_name=name,
        evaluation=_read(evaluation.uri, "metrics.json"),
        examples=_read(evaluation.uri, "examples.json"),
        training=_read_if_there(model_uri, "training_record.json"),
        counts={name: value for artifact in data for name, value in get_properties(artifact).items()},
        lengths=_read_all(data, "lengths/train.json"),
        text_changes=_read_all(data, "changes/train.json"),
        cleaning=sorted(cleaning, key=lambda properties: properties.get("round", 0)),
        receipts={node: read_receipt(path) for node, path in list_places(artifacts).items() if path.is_file()},
        lineage=trace(store, model_uri),
    )


def list_data(artifacts: Sequence[mlmd.Artifact]) -> list[mlmd.Artifact]:
    """Returns the examples of a run's own data: general text has some too, and token cleaning writes a part of them, with counts of its own."""
    own = [("ExampleGen",), ("Tokenizer",)]
    # `<root>/<node>/<key>/<execution>`
    return [a for a in artifacts if a.type == "Examples" and PurePosixPath(a.uri).parts[-3:-2] in own]


def _read_all(artifacts: Sequence[mlmd.Artifact], name: str) -> dict[str, Any]:
    return {key: value for artifact in artifacts for key, value in _read_if_there(artifact.uri, name).items()}


def _find_model_uri(store: MetadataStore, evaluation: mlmd.Artifact) -> str:
    """The candidate: the blessing that the same execution wrote names it."""
    events = store.get_events_by_artifact_ids([evaluation.id])
    executions = [event.execution_id for event in events if event.type == mlmd.Event.OUTPUT]
    written = [e.artifact_id for e in store.get_events_by_execution_ids(executions) if e.type == mlmd.Event.OUTPUT]
    for artifact in store.get_artifacts_by_id(written):
        if artifact.type == "ModelBlessing" and (uri := get_properties(artifact).get("current_model")):
            return str(uri)
    raise UserError(
        f"the metadata store must hold a blessing, which names its model, beside the evaluation {evaluation.uri}. There is none."
    )


def _read(folder: str, name: str) -> dict[str, Any]:
    try:
        return json.loads(storage.read_text(str(Path(folder, name))))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(
            f"the report needs {Path(folder, name)}, which cannot be read ({error}). Run the pipeline again."
        ) from error


def _read_if_there(folder: str, name: str) -> dict[str, Any]:
    return _read(folder, name) if Path(folder, name).is_file() else {}
