"""Completes the graph of a run of a part of the pipeline."""

from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

from pipeline.lineage.descent import get_keys
from pipeline.lineage.graph import Graph


def fill_reused(store: MetadataStore, graph: Graph) -> None:
    """Gives the nodes that a part of a pipeline did not run the inputs and parameters of the executions they stand for.

    With `--from` and `--to`, TFX records for every other node that its outputs are taken over, but not what it had read.

    Args:
        store: An open store.
        graph: Holds runs; is changed.
    """
    reused = {
        execution_id: min(graph.outputs[execution_id])
        for execution_id, execution in graph.executions.items()
        if execution.last_known_state == mlmd.Execution.CACHED
        and graph.outputs.get(execution_id)
        and not graph.inputs.get(execution_id)
        and not execution.custom_properties
    }
    if not reused:
        return
    makers: dict[int, int] = {}
    for event in store.get_events_by_artifact_ids(sorted(set(reused.values()))):
        if event.type == mlmd.Event.OUTPUT:
            makers[event.artifact_id] = min(event.execution_id, makers.get(event.artifact_id, event.execution_id))
    ids = sorted(set(makers.values()))
    executions = {execution.id: execution for execution in store.get_executions_by_id(ids)}
    inputs: dict[int, dict[int, set[str]]] = {}
    for event in store.get_events_by_execution_ids(ids):
        if event.type == mlmd.Event.INPUT:
            inputs.setdefault(event.execution_id, {})[event.artifact_id] = get_keys(event)
    for execution_id, artifact_id in reused.items():
        maker = makers[artifact_id]
        graph.inputs[execution_id] = inputs.get(maker, {})
        for name, value in executions[maker].custom_properties.items():
            graph.executions[execution_id].custom_properties[name].CopyFrom(value)
