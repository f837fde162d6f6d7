"""Runs as OpenLineage events: of every run and of every execution in it a START, and an end if it has ended."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

from pipeline.execution.run_record import NODES
from pipeline.execution.run_state import RUN_CONTEXT
from pipeline.lineage.export import facets
from pipeline.lineage.export.datasets import list_inputs, list_outputs
from pipeline.lineage.export.identifiers import PROJECT_URI, make_execution_uuid, make_run_uuid
from pipeline.lineage.export.schemas import check_event, get_definition_url
from pipeline.lineage.graph import Graph, Properties, get_properties
from pipeline.lineage.recorded import read_json
from pipeline.lineage.store import fetch_makers, fetch_runs

Event = dict[str, Any]

_State = mlmd.Execution.State
# A cached execution is complete: its outputs are there. States that are not named have no end yet.
_ENDS = {
    mlmd.Execution.COMPLETE: "COMPLETE",
    mlmd.Execution.CACHED: "COMPLETE",
    mlmd.Execution.FAILED: "FAIL",
    mlmd.Execution.CANCELED: "ABORT",
}
# So many runs are in memory at once.
_RUNS_AT_ONCE = 50


@dataclass(frozen=True, kw_only=True)
class _Run:
    """A run, with what its events have in common."""

    context: mlmd.Context
    namespace: str
    pipeline_name: str
    graph: Graph
    executions: tuple[mlmd.Execution, ...]

    @property
    def recorded(self) -> Properties:
        return get_properties(self.context)

    @property
    def uuid(self) -> str:
        return make_run_uuid(self.pipeline_name, self.context.name)


def list_events(store: MetadataStore, runs: Iterable[mlmd.Context], namespace: str) -> Iterator[Event]:
    """Yields the events of runs, checked against OpenLineage's schema: run after run, and by time within each.

    Args:
        store: An open store.
        runs: Contexts of the runs.
        namespace: Of the jobs: what stands for the scheduler in the tool that the events are for.

    Raises:
        SchemaMismatchError: An event does not fit the schema.
    """
    waiting = sorted(runs, key=lambda run: (run.create_time_since_epoch, run.id))
    while waiting:
        contexts, waiting = waiting[:_RUNS_AT_ONCE], waiting[_RUNS_AT_ONCE:]
        graph = _fetch_graph(store, [context.id for context in contexts])
        for context in contexts:
            for event in _list_run_events(_make_run(context, namespace, graph)):
                check_event(event)
                yield event


def _fetch_graph(store: MetadataStore, context_ids: list[int]) -> Graph:
    parts = fetch_runs(store, context_ids)
    graph = Graph(*parts)
    cached = [e.id for e in graph.executions.values() if e.last_known_state == mlmd.Execution.CACHED]
    reused = {artifact_id for execution_id in cached for artifact_id in graph.list_outputs(execution_id)}
    missing = [artifact_id for artifact_id in sorted(reused) if graph.find_producer(artifact_id) is None]
    return Graph(*parts, *fetch_makers(store, missing)) if missing else graph


def _make_run(context: mlmd.Context, namespace: str, graph: Graph) -> _Run:
    executions = [e for e in graph.executions.values() if graph.get_context(e.id, RUN_CONTEXT).id == context.id]
    named = {graph.get_context(e.id, "pipeline").name for e in executions} | {
        str(get_properties(context).get("pipeline_name", ""))
    }
    return _Run(
        context=context,
        namespace=namespace,
        pipeline_name=min(named - {""}, default="unknown"),
        graph=graph,
        executions=tuple(sorted(executions, key=lambda e: e.id)),
    )


def _list_run_events(run: _Run) -> list[Event]:
    started = min([run.context.create_time_since_epoch, *(e.create_time_since_epoch for e in run.executions)])
    ended = max((e.last_update_time_since_epoch for e in run.executions), default=started)
    whole = {"namespace": run.namespace, "name": run.pipeline_name}
    whole["facets"] = facets.make_job_facets("PIPELINE", run.recorded)  # type: ignore[assignment]
    outputs = [run.graph.artifacts[i] for e in run.executions for i in run.graph.list_outputs(e.id)]
    about = facets.make_record_facet(run.context.name, run.recorded) | facets.make_engine_facet(outputs)
    events = [_make_event("START", started, run.uuid, about, whole)]
    for execution in run.executions:
        events += _list_execution_events(run, execution)
    if end := _find_end(run):
        events.append(_make_event(end, ended, run.uuid, {}, whole))
    # The sort is stable: of events of one millisecond the run's START stays first and its end last.
    return sorted(events, key=lambda event: event["eventTime"])


def _list_execution_events(run: _Run, execution: mlmd.Execution) -> Iterator[Event]:
    graph, node = run.graph, run.graph.get_node_name(execution.id)
    uuid = make_execution_uuid(run.pipeline_name, run.context.name, node, execution.id)
    job = {
        "namespace": run.namespace,
        "name": f"{run.pipeline_name}.{node}",
        "facets": facets.make_job_facets("NODE", run.recorded),
    }
    parent = facets.make_parent_facet(run.uuid, run.namespace, run.pipeline_name)
    state = _State.Name(execution.last_known_state)
    component = graph.get_component(execution.id)
    known = facets.make_execution_facets(execution, component, state, _find_reused(run, execution))
    engine = facets.make_engine_facet([graph.artifacts[i] for i in graph.list_outputs(execution.id)])
    inputs = list_inputs(graph, execution.id)
    yield _make_event("START", execution.create_time_since_epoch, uuid, parent | engine | known, job, inputs)
    if end := _ENDS.get(execution.last_known_state):
        about = parent | ({} if end == "COMPLETE" else facets.make_error_facet(execution))
        written = list_outputs(graph, execution.id)
        yield _make_event(end, execution.last_update_time_since_epoch, uuid, about, job, inputs, written)


def _find_reused(run: _Run, execution: mlmd.Execution) -> Properties | None:
    if execution.last_known_state != mlmd.Execution.CACHED:
        return None
    makers = {run.graph.find_producer(i) for i in run.graph.list_outputs(execution.id)} - {None}
    if not makers:
        return None
    maker = min(makers)  # type: ignore[type-var]
    other, node = run.graph.get_run(maker), run.graph.get_node_name(maker)  # type: ignore[arg-type]
    uuid = make_execution_uuid(other.pipeline_name, other.id, node, maker)  # type: ignore[arg-type]
    return {"executionId": maker, "run": other.id, "runId": uuid}


def _find_end(run: _Run) -> str | None:
    """A node that failed may have run again: the last execution of each node decides."""
    last = {run.graph.get_node_name(e.id): _ENDS.get(e.last_known_state) for e in run.executions}
    ends = set(last.values())
    if not ends or None in ends:
        return None
    if failed := next((end for end in ("FAIL", "ABORT") if end in ends), None):
        return failed
    # Between two nodes none is running, and yet the run goes on. An older run has not recorded its nodes.
    planned = read_json(run.recorded.get(NODES), list)
    return "COMPLETE" if set(planned) <= set(last) else None


def _make_event(
    kind: str,
    milliseconds: int,
    run_uuid: str,
    run_facets: facets.Facets,
    job: dict[str, Any],
    inputs: list[dict[str, Any]] | None = None,
    outputs: list[dict[str, Any]] | None = None,
) -> Event:
    time = datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds")
    return {
        "eventType": kind,
        "eventTime": time.replace("+00:00", "Z"),
        "producer": PROJECT_URI,
        "schemaURL": get_definition_url("RunEvent"),
        "run": {"runId": run_uuid, "facets": run_facets},
        "job": job,
        "inputs": inputs or [],
        "outputs": outputs or [],
    }
