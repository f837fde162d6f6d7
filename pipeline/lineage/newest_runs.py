"""Finds the newest run of each pipeline that has to do with some artifacts."""

from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

from pipeline.execution.run_state import FINISHED, RUN_CONTEXT
from pipeline.lineage.graph import Graph
from pipeline.lineage.store import fetch_executions, fetch_runs

# How many newest runs of a pipeline are looked at for one that has ended well.
_NUM_RUNS_TRIED = 5
_NUM_WRITERS_TRIED = 100


def find_newest_runs(store: MetadataStore, artifact_ids: list[int]) -> list[tuple[Graph, mlmd.Context]]:
    """Returns of each pipeline the newest run that made or reused one of the artifacts, if possible one that has ended well."""
    writers: dict[int, list[int]] = {}
    for event in store.get_events_by_artifact_ids(artifact_ids) if artifact_ids else []:
        if event.type == mlmd.Event.OUTPUT:
            writers.setdefault(event.artifact_id, []).append(event.execution_id)
    # An artifact that the cache has handed out for years has many.
    tried = {i for ids in writers.values() for i in sorted(ids)[-_NUM_RUNS_TRIED:]}
    contexts = Graph(*fetch_executions(store, sorted(tried)[-_NUM_WRITERS_TRIED:]))
    runs: dict[str, dict[int, mlmd.Context]] = {}
    for execution_id in sorted(contexts.executions, reverse=True):
        run = contexts.get_context(execution_id, RUN_CONTEXT)
        runs.setdefault(contexts.get_context(execution_id, "pipeline").name, {})[run.id] = run
    return [_choose_run(store, list(found.values())[:_NUM_RUNS_TRIED]) for found in runs.values()]


def _choose_run(store: MetadataStore, runs: list[mlmd.Context]) -> tuple[Graph, mlmd.Context]:
    """Returns the first run that has ended well; if none has, the first."""
    graphs = []
    for run in runs:
        graphs.append(Graph(*fetch_runs(store, [run.id])))
        if _is_finished(graphs[-1], run.name):
            return graphs[-1], run
    return graphs[0], runs[0]


def _is_finished(graph: Graph, run_id: str) -> bool:
    """Returns whether a run has reached its end: the newest execution of each of its nodes has."""
    newest: dict[str, int] = {}
    for execution_id in sorted(graph.executions):
        if graph.get_context(execution_id, RUN_CONTEXT).name == run_id:
            newest[graph.get_node_name(execution_id)] = execution_id
    return all(graph.executions[i].last_known_state in FINISHED for i in newest.values())
