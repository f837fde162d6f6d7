"""Finds the newest run of each pipeline that has to do with some artifacts."""

from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

from pipeline.execution.run_state import FINISHED, RUN_CONTEXT
from pipeline.lineage.graph import Graph
from pipeline.lineage.reused import fill_reused
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
    chosen = {name: list(found.values())[:_NUM_RUNS_TRIED] for name, found in runs.items()}
    # One fetch for the newest of all pipelines; further ones only where that has not ended well.
    graph = Graph(*fetch_runs(store, [found[0].id for found in chosen.values()])) if chosen else Graph()
    fill_reused(store, graph)
    return [_choose_run(store, graph, found) for found in chosen.values()]


def _choose_run(store: MetadataStore, graph: Graph, runs: list[mlmd.Context]) -> tuple[Graph, mlmd.Context]:
    """Returns the first run that has judged its model; if none has, the first that has ended well, or the first at all."""
    graphs = [graph]
    for place, run in enumerate(runs):
        if place:
            graphs.append(Graph(*fetch_runs(store, [run.id])))
            fill_reused(store, graphs[-1])
        if _is_finished(graphs[-1], run.name) and _has_judged(graphs[-1], run.name):
            return graphs[-1], run
    finished = [place for place, run in enumerate(runs) if _is_finished(graphs[place], run.name)]
    first = finished[0] if finished else 0
    return graphs[first], runs[first]


def _has_judged(graph: Graph, run_id: str) -> bool:
    """Returns whether a run has got as far as a blessing; one of `--to` an earlier node has not the nodes behind that."""
    return any(
        graph.artifacts[i].type == "ModelBlessing"
        for execution_id, outputs in graph.outputs.items()
        if graph.get_context(execution_id, RUN_CONTEXT).name == run_id
        for i in outputs
    )


def _is_finished(graph: Graph, run_id: str) -> bool:
    """Returns whether a run has reached its end: the newest execution of each of its nodes has."""
    newest: dict[str, int] = {}
    for execution_id in sorted(graph.executions):
        if graph.get_context(execution_id, RUN_CONTEXT).name == run_id:
            newest[graph.get_node_name(execution_id)] = execution_id
    return all(graph.executions[i].last_known_state in FINISHED for i in newest.values())
