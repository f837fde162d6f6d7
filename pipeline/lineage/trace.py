"""Answers where a model came from: `trace` follows the metadata store from a model back to the data file."""

from collections.abc import Iterable, Iterator
from typing import Any

from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

from components.errors import UserError
from pipeline.lineage import store as lineage_store
from pipeline.lineage.graph import DataFile, Evaluation, Graph, Properties, Step, Trace, get_properties, make_artifact
from pipeline.lineage.recorded import read_json


def trace(store: MetadataStore, path: str | None = None, pipeline_name: str | None = None) -> Trace:
    """Follows a model back to its data.

    Args:
        store: an open store (`lineage_store.open_store`).
        path: a pushed folder, a model artifact's URI, or a file inside one. None: the latest pushed model.
        pipeline_name: with no `path`, only models of this pipeline.

    Raises:
        UserError: nothing was pushed, the path is unknown, or its producer is not in the store.
    """
    if path is None:
        return trace_artifact(store, lineage_store.get_latest_pushed(store, pipeline_name))
    return trace_artifact(store, lineage_store.find_model(store, path))


def trace_artifact(store: MetadataStore, start: mlmd.Artifact) -> Trace:
    """Follows an artifact back to the data; of a model also what was said of it and done with it.

    Raises:
        UserError: the store does not know what made it.
    """
    artifact_id = find_trained_model(store, start) if start.type == "PushedModel" else start.id
    parts = [lineage_store.fetch_upstream(store, artifact_id)]
    if start.type in lineage_store.MODEL_TYPES:
        parts.append(lineage_store.fetch_verdict(store, artifact_id))
    graph = Graph(*parts)

    pushed_id = start.id if start.type == "PushedModel" else graph.find_pushed()
    pusher = graph.find_producer(pushed_id) if pushed_id else None
    evaluator = graph.find_evaluator(artifact_id, pusher)
    maker = graph.find_producer(artifact_id)
    if maker is None:
        raise UserError(f"The metadata store holds {start.uri}, but no execution that made it: its chain is unknown.")

    last = pusher or evaluator or maker
    runs = {last: graph.get_run(last)}
    downstream = [e for e in (pusher, evaluator) if e]
    executions = downstream + list(graph.walk_back(maker))
    # What they read beside the model: examples and predictions, the blessing.
    graph.add_inputs(store.get_events_by_execution_ids(downstream) if downstream else [])
    steps = tuple(graph.make_step(e, traced_run_id=runs[last].id) for e in executions)
    runs.update({e: graph.get_run(e) for e in executions})
    graph_ids = [a.id for step in steps for a in step.outputs if a.type == "TransformGraph"]
    examples = [a.id for step in steps for a in step.outputs if a.type == "Examples"]
    reports = lineage_store.fetch_cleaning_reports(store, graph_ids) if graph_ids else []
    return Trace(
        pushed=make_artifact(graph.artifacts[pushed_id]) if pushed_id else None,
        artifact=make_artifact(graph.artifacts[artifact_id]),
        evaluation=_make_evaluation(graph, evaluator) if evaluator else None,
        steps=steps,
        data=tuple(_list_data_files(steps)),
        runs=tuple({run.id: run for run in runs.values()}.values()),
        token_cleaning=tuple(make_artifact(report) for report in reports),
        receipts=tuple(make_artifact(receipt) for receipt in lineage_store.fetch_receipts(store, examples)),
    )


def find_trained_model(store: MetadataStore, pushed: mlmd.Artifact) -> int:
    """Returns the id of the Model artifact that a Pusher pushed.

    Args:
        store: An open store.
        pushed: A PushedModel.

    Raises:
        UserError: The store does not hold it.
    """
    writers = {e.execution_id for e in store.get_events_by_artifact_ids([pushed.id]) if e.type == mlmd.Event.OUTPUT}
    read = [e.artifact_id for e in store.get_events_by_execution_ids(writers) if e.type == mlmd.Event.INPUT]
    models = [artifact.id for artifact in store.get_artifacts_by_id(read) if artifact.type == "Model"]
    if not models:
        raise UserError(
            f"The metadata store holds the pushed model {pushed.uri}, but not the trained model it is a copy of."
        )
    return max(models)


def _make_evaluation(graph: Graph, evaluator: int) -> Evaluation:
    merged: Properties = {}
    for artifact_id in graph.list_outputs(evaluator):
        merged.update(get_properties(graph.artifacts[artifact_id]))
    metrics = _parse_json(merged.get("metrics")) or {}
    return Evaluation(
        blessed=bool(merged["blessed"]) if "blessed" in merged else None,
        verdict=str(merged.get("verdict", "")),
        reason=str(merged.get("reason", "")),
        metrics={model: values for model, values in metrics.items() if values},
    )


def _list_data_files(steps: Iterable[Step]) -> Iterator[DataFile]:
    for artifact in (artifact for step in steps for artifact in step.outputs):
        recorded = artifact.properties
        if "data_sha256" in recorded:
            yield DataFile(
                path=str(recorded.get("data_path", "")),
                sha256=str(recorded["data_sha256"]),
                rows_read=recorded.get("rows_read"),
                rows_kept=recorded.get("rows_kept"),
                rows_quarantined=recorded.get("rows_quarantined"),
                rows_left_out=recorded.get("rows_left_out"),
                rows_by_split=_parse_json(recorded.get("rows_by_split")) or {},
            )


def _parse_json(value: Any) -> Any:
    return read_json(value, dict) if isinstance(value, str) else value
