"""What a trace is made of, and the graph of the metadata store that it is read from."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from google.protobuf.json_format import MessageToDict
from ml_metadata.proto import metadata_store_pb2 as mlmd

Properties = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """One recorded output: a folder with what is known of it."""

    id: int
    type: str
    uri: str
    created_at: str
    properties: Properties
    is_collected: bool = False
    """Its files were removed by a collection; the record stays."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One execution."""

    node: str
    component: str
    execution_id: int
    state: str
    """`complete`, `cached`, `failed`, `running`, ...: as ML Metadata names it."""
    run_id: str
    started_at: str
    duration_seconds: float
    reused: bool
    """The run that is traced took this execution's outputs over from an earlier run instead of running the node."""
    properties: Properties
    inputs: tuple[int, ...]
    outputs: tuple[Artifact, ...]


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of a pipeline, with what was recorded of it when it started."""

    id: str
    pipeline_name: str
    started_at: str = ""
    config_path: str = ""
    config: str = ""
    code_version: str = "unknown"
    code_dirty: bool | None = None
    code_sha256: str = ""
    lock_sha256: str = ""
    hardware: str = ""


@dataclass(frozen=True, kw_only=True)
class DataFile:
    """A source file; the hash is of its bytes as they were read."""

    path: str
    sha256: str
    rows_read: int | None
    rows_kept: int | None
    rows_quarantined: int | None
    rows_left_out: int | None = None
    rows_by_split: dict[str, int]

    @property
    def rows(self) -> dict[str, int]:
        """What became of the rows, as far as it was recorded, by a word for it."""
        counts = {
            "read": self.rows_read,
            "kept": self.rows_kept,
            "quarantined": self.rows_quarantined,
            "left out": self.rows_left_out,
        }
        return {word: count for word, count in counts.items() if count is not None}


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What the Evaluator measured and decided. `metrics`: model (candidate, baseline, preset) to slice to values."""

    blessed: bool | None
    verdict: str
    reason: str
    metrics: dict[str, dict[str, dict[str, float]]]


@dataclass(frozen=True, kw_only=True)
class Trace:
    """The whole chain of one model, or of anything else that a run wrote."""

    pushed: Artifact | None
    artifact: Artifact
    """The trained model; or what else was asked about."""
    evaluation: Evaluation | None
    steps: tuple[Step, ...]
    """From the last step (Pusher) to the first (ExampleGen)."""
    data: tuple[DataFile, ...]
    runs: tuple[Run, ...]
    """The run that is traced, then the earlier ones from which it reused steps."""
    token_cleaning: tuple[Artifact, ...] = ()
    """What each cut kept, in the order of the rounds: nothing was made from these reports, so they are no steps."""
    receipts: tuple[Artifact, ...] = ()
    """What the loss of each training saw, in the order of time; likewise."""

    @property
    def run(self) -> Run:
        """The run that pushed the model (or evaluated, trained or wrote it, if it went no further)."""
        return self.runs[0]


class Graph:
    """Subgraphs of the store, joined and indexed.

    Attributes:
        artifacts: By id.
        executions: By id.
        inputs: Execution id to the ids of the artifacts that it read, each with the names under which it did.
        outputs: Execution id to the ids of the artifacts that it wrote (a cached one: that it took over), with their names.
        chosen: Execution id to the ids of the artifacts that it selected, being a resolver, with their names.
    """

    def __init__(self, *parts: mlmd.LineageGraph):
        self.artifacts: dict[int, mlmd.Artifact] = {a.id: a for part in parts for a in part.artifacts}
        self.executions: dict[int, mlmd.Execution] = {e.id: e for part in parts for e in part.executions}
        self.inputs: dict[int, dict[int, set[str]]] = {}
        self.outputs: dict[int, dict[int, set[str]]] = {}
        self.chosen: dict[int, dict[int, set[str]]] = {}
        self._type_names = {t.id: t.name for part in parts for t in part.execution_types}
        for part in parts:
            self._add_events(part.events)
        self._producers: dict[int, int] = {}
        for execution_id, artifact_ids in sorted(self.outputs.items()):
            execution = self.executions.get(execution_id)
            if execution is not None and execution.last_known_state == mlmd.Execution.COMPLETE:
                for artifact_id in artifact_ids:
                    self._producers.setdefault(artifact_id, execution_id)
        contexts = {c.id: c for part in parts for c in part.contexts}
        self._contexts: dict[int, dict[str, mlmd.Context]] = {}  # execution -> context type -> context
        for association in (association for part in parts for association in part.associations):
            context = contexts[association.context_id]
            self._contexts.setdefault(association.execution_id, {})[context.type] = context

    def add_inputs(self, events: Iterable[mlmd.Event]) -> None:
        """Adds what executions read, where a subgraph ended at them; the artifacts themselves stay out."""
        self._add_events(event for event in events if event.type == mlmd.Event.INPUT)

    def _add_events(self, events: Iterable[mlmd.Event]) -> None:
        sides = {
            mlmd.Event.INPUT: self.inputs,
            mlmd.Event.OUTPUT: self.outputs,
            mlmd.Event.INTERNAL_OUTPUT: self.chosen,  # others had made these
        }
        for event in events:
            if event.type in sides:
                # One model may be both candidate and baseline: then one event has both names.
                names = {step.key for step in event.path.steps if step.HasField("key")}
                sides[event.type].setdefault(event.execution_id, {}).setdefault(event.artifact_id, set()).update(names)

    def find_producer(self, artifact_id: int) -> int | None:
        """Returns the execution that really made the artifact; cached ones only point to it."""
        return self._producers.get(artifact_id)

    def find_pushed(self) -> int | None:
        """Returns the newest push of the model."""
        pushed = (a.id for a in self.artifacts.values() if a.type == "PushedModel")
        return max((i for i in pushed if get_properties(self.artifacts[i]).get("pushed_destination")), default=None)

    def find_evaluator(self, model_id: int, pusher: int | None) -> int | None:
        """Returns the execution that judged the model: the one that the Pusher listened to, else the newest."""
        evaluators = []
        for execution_id, outputs in self.outputs.items():
            judged = any(self.artifacts[i].type == "ModelBlessing" for i in outputs)
            # Later evaluations read the same model as their baseline: they did not judge it.
            is_candidate = "model" in self.inputs.get(execution_id, {}).get(model_id, ())
            if judged and is_candidate and execution_id in self._producers.values():
                evaluators.append(execution_id)
        heard = [e for e in evaluators if pusher and self.outputs[e].keys() & self.inputs.get(pusher, {}).keys()]
        return max(heard or [e for e in evaluators if not pusher or e < pusher], default=None)

    def walk_back(self, execution_id: int) -> Iterator[int]:
        """Yields an execution and all before it, the latest first: what made an artifact was registered before its reader."""
        found, waiting = {execution_id}, [execution_id]
        while waiting:
            makers = {self.find_producer(artifact_id) for artifact_id in self.inputs.get(waiting.pop(), {})}
            new = {maker for maker in makers if maker is not None} - found
            found |= new
            waiting += new
        return iter(sorted(found, reverse=True))

    def get_run(self, execution_id: int) -> Run:
        """Returns the run of an execution."""
        context = self.get_context(execution_id, "pipeline_run")
        recorded = get_properties(context)
        texts = ("started_at", "config_path", "config", "code_version", "code_sha256", "lock_sha256", "hardware")
        return Run(
            id=context.name or "unknown",
            pipeline_name=self.get_context(execution_id, "pipeline").name,
            code_dirty={"true": True, "false": False}.get(str(recorded.get("code_dirty"))),
            **{key: str(recorded[key]) for key in texts if key in recorded},
        )

    def make_step(self, execution_id: int, traced_run_id: str) -> Step:
        """Describes an execution."""
        execution = self.executions[execution_id]
        run = self.get_run(execution_id)
        return Step(
            node=self.get_node_name(execution_id),
            component=self.get_component(execution_id),
            execution_id=execution_id,
            state=mlmd.Execution.State.Name(execution.last_known_state).lower(),
            run_id=run.id,
            started_at=format_time(execution.create_time_since_epoch),
            duration_seconds=(execution.last_update_time_since_epoch - execution.create_time_since_epoch) / 1000,
            reused=run.id != traced_run_id,
            properties=get_properties(execution),
            inputs=tuple(sorted(self.inputs.get(execution_id, {}))),
            outputs=tuple(make_artifact(self.artifacts[i]) for i in self.list_outputs(execution_id)),
        )

    def get_component(self, execution_id: int) -> str:
        """Returns the name of an execution's type: a component's class, by dotted path."""
        execution = self.executions[execution_id]
        return execution.type or self._type_names.get(execution.type_id, "")

    def get_node_name(self, execution_id: int) -> str:
        """Returns the id of the node that an execution was of."""
        node = self.get_context(execution_id, "node").name
        # TFX names node contexts `<pipeline name>.<node id>`.
        pipeline_name = self.get_context(execution_id, "pipeline").name
        return node.removeprefix(f"{pipeline_name}.") or self.get_component(execution_id).rpartition(".")[2]

    def get_context(self, execution_id: int, kind: str) -> mlmd.Context:
        """Returns the context of an execution that is of a type (`pipeline`, `pipeline_run`, `node`); empty if there is none."""
        return self._contexts.get(execution_id, {}).get(kind, mlmd.Context())

    def list_outputs(self, execution_id: int) -> list[int]:
        """Lists the artifacts that an execution made, as far as they belong to the chain."""
        return sorted(self.outputs.get(execution_id, ()))


def make_artifact(artifact: mlmd.Artifact) -> Artifact:
    """Describes an artifact."""
    return Artifact(
        id=artifact.id,
        type=artifact.type,
        uri=artifact.uri,
        created_at=format_time(artifact.create_time_since_epoch),
        properties=get_properties(artifact),
        is_collected=artifact.state in (mlmd.Artifact.DELETED, mlmd.Artifact.MARKED_FOR_DELETION),
    )


def get_properties(node: mlmd.Artifact | mlmd.Execution | mlmd.Context) -> Properties:
    """Returns declared and custom properties as Python values."""
    found: Properties = {}
    for values in (node.properties, node.custom_properties):
        # The order in a protocol buffer is by chance, and another one in each process.
        for key, value in sorted(values.items()):
            kind = value.WhichOneof("value")
            if kind is not None:
                held = getattr(value, kind)
                found[key] = MessageToDict(held) if kind in ("struct_value", "proto_value") else held
    return found


def format_time(milliseconds: int) -> str:
    """Returns a time of the store, in milliseconds since 1970, as ISO 8601 in UTC."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
