"""A root with runs whose files are really there."""

import hashlib
import json
from pathlib import Path
from typing import Any

from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

from components.content import record_content
from pipeline.execution.run_state import PROCESS, describe_process


class RootWriter:
    """Writes runs as this project does: files below a root, and their artifacts, executions and contexts in a store."""

    def __init__(self, root: Path, connection: mlmd.ConnectionConfig | None = None):
        self.root = root
        self.connection = connection or mlmd.ConnectionConfig()
        if connection is None:
            self.connection.sqlite.filename_uri = str(root / "metadata.sqlite")
            self.connection.sqlite.connection_mode = mlmd.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
        root.mkdir(exist_ok=True)
        self.store = MetadataStore(self.connection)
        self.data = root.parent / "data.jsonl"
        self.data.write_text("a row\n")

    def context(self, kind: str, name: str, **properties: str) -> mlmd.Context:
        type_id = self.store.put_context_type(mlmd.ContextType(name=kind))
        if known := self.store.get_context_by_type_and_name(kind, name):
            return known
        context = mlmd.Context(type_id=type_id, name=name)
        for key, value in properties.items():
            context.custom_properties[key].string_value = value
        (context_id,) = self.store.put_contexts([context])
        (stored,) = self.store.get_contexts_by_id([context_id])
        return stored

    def start_run(self, run: str, pipeline: str, process: str = "gone") -> None:
        """Makes the run's context; `process` is ours for one that goes on, and one of this machine that is gone by default."""
        host = describe_process().split(" ")[0]
        gone = f"{host} 999999999 1.00"
        given = gone if process == "gone" else process
        self.context("pipeline_run", run, pipeline_name=pipeline, **({PROCESS: given} if given else {}))
        log = self.root / "logs" / pipeline / run / "run.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("log")

    def execution(
        self,
        run: str,
        pipeline: str,
        node: str,
        inputs: dict[str, mlmd.Artifact],
        outputs: dict[str, tuple[str, dict[str, Any]] | mlmd.Artifact],
        *,
        files: dict[str, str] | None = None,
        recorded: bool = True,
        state: int = mlmd.Execution.COMPLETE,
    ) -> dict[str, mlmd.Artifact]:
        """Records an execution.

        Args:
            run: The run.
            pipeline: Its pipeline.
            node: The node.
            inputs: Artifacts by key.
            outputs: Type and custom properties of a new artifact, or one that was taken from the cache.
            files: Text by name, the same in each new artifact.
            recorded: Whether the content is hashed.
            state: Of the execution.
        """
        type_id = self.store.put_execution_type(mlmd.ExecutionType(name=f"components.{node}"))
        contexts = [
            self.context("pipeline", pipeline),
            self.context("pipeline_run", run),
            self.context("node", f"{pipeline}.{node}"),
        ]
        execution = mlmd.Execution(type_id=type_id, last_known_state=mlmd.Execution.RUNNING)
        execution_id, _, _ = self.store.put_execution(execution, [], contexts)
        (execution,) = self.store.get_executions_by_id([execution_id])
        execution.last_known_state = state
        pairs = [(artifact, _make_event(mlmd.Event.INPUT, key)) for key, artifact in inputs.items()]
        for key, output in outputs.items():
            artifact = output
            if isinstance(output, tuple):
                kind, properties = output
                folder = self.root / "artifacts" / pipeline / node / key / str(execution_id)
                for name, text in (files or {"data": f"{node} {key} {execution_id}"}).items():
                    (folder / name).parent.mkdir(parents=True, exist_ok=True)
                    (folder / name).write_text(text)
                artifact_type = self.store.put_artifact_type(mlmd.ArtifactType(name=kind))
                artifact = mlmd.Artifact(type_id=artifact_type, uri=str(folder), state=mlmd.Artifact.LIVE)
                for name, value in properties.items():
                    field = {int: "int_value", str: "string_value"}[type(value)]
                    setattr(artifact.custom_properties[name], field, value)
                if recorded:
                    record_content(artifact)
            pairs.append((artifact, _make_event(mlmd.Event.OUTPUT, key)))
        _, ids, _ = self.store.put_execution(execution, pairs, contexts)
        stored = self.store.get_artifacts_by_id(ids[len(inputs) :])
        by_id = {artifact.id: artifact for artifact in stored}
        return {key: by_id[i] for key, i in zip(outputs, ids[len(inputs) :], strict=True)}

    def record_run(
        self,
        run: str,
        *,
        pipeline: str = "tiny",
        pushed: bool = False,
        blessed: bool | None = None,
        reuse: dict[str, mlmd.Artifact] | None = None,
        baseline: mlmd.Artifact | None = None,
        process: str = "gone",
    ) -> dict[str, mlmd.Artifact]:
        """Records ExampleGen, Trainer, Evaluator and Pusher; `reuse` takes the examples from the cache."""
        self.start_run(run, pipeline, process)
        blessed = pushed if blessed is None else blessed
        if reuse:
            cached = {"examples": reuse["examples"]}
            made = self.execution(run, pipeline, "ExampleGen", {}, cached, state=mlmd.Execution.CACHED)
        else:
            made = self.record_examples(run, pipeline)
        made |= self.execution(
            run, pipeline, "Trainer", {"examples": made["examples"]}, {"model": ("Model", {"method": "lora"})}
        )
        inputs = {"model": made["model"]} | ({"baseline_model": baseline} if baseline is not None else {})
        made |= self.execution(
            run,
            pipeline,
            "Evaluator",
            inputs,
            {"evaluation": ("ModelEvaluation", {}), "blessing": ("ModelBlessing", {"blessed": int(blessed)})},
        )
        properties: dict[str, Any] = {"pushed": int(pushed)}
        if pushed:
            folder = self.root / "serving" / pipeline / run
            folder.mkdir(parents=True)
            (folder / "data").write_text("pushed")
            properties["pushed_destination"] = str(folder)
        inputs = {"model": made["model"], "model_blessing": made["blessing"]}
        outputs = {"pushed_model": ("PushedModel", properties)}
        return made | self.execution(run, pipeline, "Pusher", inputs, outputs, files={"data": "pushed"})

    def record_examples(self, run: str, pipeline: str = "tiny") -> dict[str, mlmd.Artifact]:
        """Records ExampleGen, which has read `self.data` as it is now."""
        raw = self.data.read_bytes()
        sha256 = hashlib.sha256(raw).hexdigest()
        report = {"files": [{"path": str(self.data), "sha256": sha256, "bytes": len(raw), "rows_read": 1}]}
        files = {"Split-train/data": "rows", "ingest_report.json": json.dumps(report)}
        properties = {"data_path": str(self.data), "data_sha256": sha256}
        outputs = {"examples": ("Examples", properties)}
        return self.execution(run, pipeline, "ExampleGen", {}, outputs, files=files)

    def state(self, artifact: mlmd.Artifact) -> str:
        """Returns the name of the state of an artifact now."""
        (now,) = self.store.get_artifacts_by_id([artifact.id])
        return mlmd.Artifact.State.Name(now.state)


def _make_event(kind: int, key: str) -> mlmd.Event:
    event = mlmd.Event(type=kind)
    event.path.steps.add().key = key
    event.path.steps.add().index = 0
    return event
