"""Makes a drawing from the records of the metadata store."""

import dataclasses
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Any

from ml_metadata.proto import metadata_store_pb2 as mlmd

from pipeline.execution.run_state import RUN_CONTEXT
from pipeline.lineage.drawing.model import (
    ARTIFACT,
    CHOICE,
    EXECUTION,
    INPUT,
    OUTPUT,
    REUSE,
    STATES,
    Drawing,
    DrawnRun,
    Edge,
    Node,
    key_artifact,
    key_execution,
)
from pipeline.lineage.drawing.text import make_plain
from pipeline.lineage.graph import Graph, format_time, get_properties
from pipeline.lineage.store import CLEANING_REPORT_TYPES
from pipeline.lineage.times import format_duration

_KIND_OF_TYPE = {
    **dict.fromkeys(("Examples", "ExampleStatistics", "Schema", "ExampleAnomalies", "TransformGraph"), "data"),
    **dict.fromkeys(("TransformCache", "DataView", "ExamplesDiff", "HyperParameters", "TunerResults"), "data"),
    **dict.fromkeys(("Model", "ModelRun", "PushedModel"), "model"),
    **dict.fromkeys(("ModelEvaluation", "ModelBlessing", "InfraBlessing", "InferenceResult"), "evidence"),
    **dict.fromkeys((*CLEANING_REPORT_TYPES, "pipeline.TrainingReceipt"), "evidence"),
}
# What the resolver of the baseline is given.
_GIVEN = {"candidate"}


def make_drawing(
    graph: Graph,
    executions: Iterable[int],
    *,
    title: str,
    name: str,
    subject: str = "",
    lanes: bool = False,
    more_artifacts: Iterable[int] = (),
) -> Drawing:
    """Returns the drawing of some executions of a graph with all that they read and wrote, as far as the graph has it.

    Args:
        graph: The records.
        executions: Ids of those to draw.
        title: What it shows.
        name: The same in a file's name.
        subject: Key of the node that was asked about.
        lanes: Whether each run stands in a lane of its own.
        more_artifacts: Ids of artifacts to draw in any case.
    """
    drawn = sorted(set(executions) & graph.executions.keys())
    edges = [edge for execution_id in drawn for edge in _list_edges(graph, execution_id)]
    keys = {key for edge in edges for key in (edge.source, edge.target)} | {key_artifact(i) for i in more_artifacts}
    artifacts = sorted(i for i in graph.artifacts if key_artifact(i) in keys)
    runs = {e: graph.get_context(e, RUN_CONTEXT) for e in drawn}
    shown_runs = {context.id: (context, e) for e, context in runs.items()}
    homes = _find_homes(graph, drawn, runs)
    names = _find_names(edges)
    nodes = [_make_execution(graph, e, runs[e].name) for e in drawn]
    nodes += [_make_artifact(graph.artifacts[i], names.get(i, ""), homes.get(i, "")) for i in artifacts]
    if not lanes:
        latest = max((context.id for context in runs.values()), default=0)
        earlier = {key_execution(e) for e, context in runs.items() if context.id != latest}
        nodes = [dataclasses.replace(n, detail=f"{n.detail}, earlier run") if n.key in earlier else n for n in nodes]
    made_runs = [
        DrawnRun(
            id=context.name or "unknown",
            pipeline=graph.get_context(e, "pipeline").name,
            created_at=format_time(context.create_time_since_epoch) if context.create_time_since_epoch else "",
            summary=_summarize([node for node in nodes if node.run == context.name]),
            properties=make_plain(get_properties(context)),
        )
        for context, e in sorted(shown_runs.values(), key=lambda pair: -pair[0].id)
    ]
    pipelines = {run.pipeline for run in made_runs}
    return Drawing(
        title=title,
        name=name,
        pipeline=pipelines.pop() if len(pipelines) == 1 else "",
        subject=subject,
        lanes=lanes,
        runs=tuple(made_runs),
        nodes=tuple(nodes),
        edges=tuple(edges),
    )


def _list_edges(graph: Graph, execution_id: int) -> Iterable[Edge]:
    key = key_execution(execution_id)
    cached = graph.executions[execution_id].last_known_state == mlmd.Execution.CACHED
    chosen = graph.chosen.get(execution_id, {})
    # A resolver is recorded with what it was given and with what it found alike.
    given = {artifact_id: names for artifact_id, names in chosen.items() if names <= _GIVEN}
    found = {artifact_id: names for artifact_id, names in chosen.items() if artifact_id not in given}
    sides = (
        (INPUT, graph.inputs.get(execution_id, {}) | given),
        (REUSE if cached else OUTPUT, graph.outputs.get(execution_id, {})),
        (CHOICE, found),
    )
    for kind, artifacts in sides:
        for artifact_id, names in sorted(artifacts.items()):
            if artifact_id in graph.artifacts:
                ends = (key_artifact(artifact_id), key) if kind == INPUT else (key, key_artifact(artifact_id))
                yield Edge(source=ends[0], target=ends[1], kind=kind, names=tuple(sorted(names)))


def _find_homes(graph: Graph, drawn: list[int], runs: dict[int, mlmd.Context]) -> dict[int, str]:
    """Returns the run of each artifact: the one that wrote it, or else the oldest that is drawn with it."""
    homes: dict[int, str] = {}
    # In the order in which they were recorded: what wrote an artifact comes before all that read it or took it over.
    for execution_id in drawn:
        for side in (graph.outputs, graph.inputs, graph.chosen):
            for artifact_id in side.get(execution_id, ()):
                homes.setdefault(artifact_id, runs[execution_id].name)
    return homes


def _find_names(edges: Iterable[Edge]) -> dict[int, str]:
    """Returns the name under which each artifact was written, or else read."""
    names: dict[int, str] = {}
    for kinds in ((OUTPUT, REUSE), (INPUT, CHOICE)):
        for edge in (edge for edge in edges if edge.kind in kinds and edge.names):
            artifact = edge.source if edge.kind == INPUT else edge.target
            names.setdefault(int(artifact.partition(":")[2]), edge.names[0])
    return names


def _make_execution(graph: Graph, execution_id: int, run: str) -> Node:
    execution = graph.executions[execution_id]
    state = mlmd.Execution.State.Name(execution.last_known_state)
    group = state.lower() if state.lower() in STATES else "new"
    seconds = (execution.last_update_time_since_epoch - execution.create_time_since_epoch) / 1000
    is_over = group in ("complete", "failed", "canceled")
    details = {"complete": format_duration(seconds), "failed": f"failed after {format_duration(seconds)}"}
    return Node(
        key=key_execution(execution_id),
        id=execution_id,
        kind=EXECUTION,
        group=group,
        title=graph.get_node_name(execution_id),
        detail=details.get(group, STATES[group].lower()),
        tone="bad" if group == "failed" else "",
        type=graph.get_component(execution_id),
        state=state,
        run=run,
        created_at=format_time(execution.create_time_since_epoch),
        updated_at=format_time(execution.last_update_time_since_epoch),
        duration_seconds=seconds if is_over else None,
        properties=make_plain(get_properties(execution)),
    )


def _make_artifact(artifact: mlmd.Artifact, name: str, run: str) -> Node:
    properties = get_properties(artifact)
    fact, tone = _describe(artifact.type, properties)
    state = mlmd.Artifact.State.Name(artifact.state)
    if state in ("MARKED_FOR_DELETION", "DELETED", "ABANDONED"):
        fact, tone = state.lower().replace("_", " "), "bad"
    return Node(
        key=key_artifact(artifact.id),
        id=artifact.id,
        kind=ARTIFACT,
        group=_KIND_OF_TYPE.get(artifact.type, "other"),
        title=name or artifact.type,
        detail=fact or artifact.type,
        tone=tone,
        type=artifact.type,
        state=state,
        run=run,
        uri=artifact.uri,
        created_at=format_time(artifact.create_time_since_epoch),
        updated_at=format_time(artifact.last_update_time_since_epoch),
        properties=make_plain(properties),
    )


def _describe(type_name: str, properties: dict[str, Any]) -> tuple[str, str]:
    """Returns the fact about an artifact that one asks for first, and its tone."""
    match type_name:
        case "ModelBlessing" if "blessed" in properties:
            return ("blessed", "good") if properties["blessed"] else ("not blessed", "bad")
        case "PushedModel":
            version = properties.get("pushed_version", "")
            return (
                (f"version {version}" if version else "pushed", "good")
                if properties.get("pushed_destination")
                else (
                    "not pushed",
                    "bad",
                )
            )
        case "Model":
            preset = PurePosixPath(str(properties.get("preset", ""))).name
            return ", ".join(filter(None, (str(properties.get("method", "")), preset))), ""
        case "Examples" if isinstance(properties.get("rows_kept"), int):
            return f"{properties['rows_kept']:,} rows", ""
    return "", ""


def _summarize(nodes: list[Node]) -> str:
    """Returns how many executions a run had, in which states, and what became of its model."""
    executions = [node for node in nodes if node.kind == EXECUTION]
    counts = {state: sum(node.group == state for node in executions) for state in STATES}
    told = [f"{count} {STATES[state].lower()}" for state, count in counts.items() if count and state != "complete"]
    verdicts = [node.detail for node in nodes if node.type == "ModelBlessing"]
    return ", ".join([f"{len(executions)} execution{'s' * (len(executions) != 1)}", *told, *dict.fromkeys(verdicts)])
