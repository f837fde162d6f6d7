"""What is drawn: executions and artifacts as nodes, events as edges, runs as lanes."""

from dataclasses import dataclass

from pipeline.lineage.graph import Properties

EXECUTION, ARTIFACT = "execution", "artifact"
# Groups of nodes, which legends and colours tell apart, with their names for people. Executions are told by their state,
# artifacts by what they are.
STATES = {
    "complete": "Complete",
    "cached": "Cached",
    "failed": "Failed",
    "running": "Running",
    "canceled": "Canceled",
    "new": "Not started",
}
KINDS = {"data": "Data", "model": "Model", "evidence": "Evidence", "other": "Other"}
GROUPS = STATES | KINDS
# What an edge says: was read, was written, was taken over by a cached execution, was selected by a resolver.
INPUT, OUTPUT, REUSE, CHOICE = "input", "output", "reuse", "choice"
EDGES = {INPUT: "Read", OUTPUT: "Written", REUSE: "Taken from the cache", CHOICE: "Selected"}


@dataclass(frozen=True, kw_only=True)
class Node:
    """An execution or an artifact.

    Attributes:
        key: `execution:7` or `artifact:12`.
        id: Its number in the metadata store.
        kind: `execution` or `artifact`.
        group: One of `GROUPS`.
        title: The name of the node that was executed; the name under which an artifact was written.
        detail: What is worth knowing at a glance.
        tone: `good` or `bad` if the detail is a verdict.
        type: A component's class; an artifact's type.
        state: As ML Metadata calls it.
        run: The run that executed or wrote it, as far as that is drawn; the lane in which it stands.
        uri: Of an artifact.
        created_at: ISO 8601, UTC.
        updated_at: ISO 8601, UTC.
        duration_seconds: Of an execution that is over.
        properties: All that was recorded.
    """

    key: str
    id: int
    kind: str
    group: str
    title: str
    detail: str
    tone: str = ""
    type: str
    state: str
    run: str
    uri: str = ""
    created_at: str
    updated_at: str
    duration_seconds: float | None = None
    properties: Properties


@dataclass(frozen=True, kw_only=True)
class Edge:
    """An event. Edges run as data do: from an artifact to its reader, from an execution to what it wrote.

    Attributes:
        source: Key of a node.
        target: Key of a node.
        kind: One of `EDGES`.
        names: Under which the component knows the artifact.
    """

    source: str
    target: str
    kind: str
    names: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class DrawnRun:
    """A run whose executions are drawn."""

    id: str
    pipeline: str
    created_at: str
    summary: str
    properties: Properties


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A graph to be drawn.

    Attributes:
        title: What it shows.
        name: The title in a file's name.
        pipeline: The pipeline of all runs; empty if there are several.
        subject: Key of the node that was asked about; empty if that was a run.
        lanes: Whether each run stands in a lane of its own.
        runs: The newest first.
        nodes: Executions and artifacts, in the order in which they were recorded.
        edges: Between them.
    """

    title: str
    name: str
    pipeline: str
    subject: str
    lanes: bool
    runs: tuple[DrawnRun, ...]
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]


def key_execution(execution_id: int) -> str:
    """Returns the key of an execution."""
    return f"{EXECUTION}:{execution_id}"


def key_artifact(artifact_id: int) -> str:
    """Returns the key of an artifact."""
    return f"{ARTIFACT}:{artifact_id}"
