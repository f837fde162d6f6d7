"""Stores of a few runs, written through ML Metadata's own interface with the names that the pipeline's nodes use."""

import json
from pathlib import Path
from typing import Any

from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

from pipeline.lineage.store import open_store

COMPLETE, CACHED = mlmd.Execution.COMPLETE, mlmd.Execution.CACHED
PRESET = "data/base/tiny"
SPLITS = {"train": 80, "eval": 10, "test": 10}
_COMPONENTS = {"ExampleGen": "components.example_gen.component.InstructionExampleGen"}


class SmallStore:
    """A store; `reader` asks it."""

    def __init__(self, folder: Path):
        self.root = folder
        config = mlmd.ConnectionConfig()
        config.sqlite.filename_uri = str(folder / "metadata.sqlite")
        config.sqlite.connection_mode = mlmd.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
        self.store = MetadataStore(config)
        self.reader = open_store(config)

    def context(self, kind: str, name: str, **properties: Any) -> mlmd.Context:
        type_id = self.store.put_context_type(mlmd.ContextType(name=kind))
        known = self.store.get_context_by_type_and_name(kind, name)
        if known is None:
            context = mlmd.Context(type_id=type_id, name=name)
            set_properties(context, properties)
            (context_id,) = self.store.put_contexts([context])
            (known,) = self.store.get_contexts_by_id([context_id])
        return known

    def start(self, run_id: str, pipeline: str = "tiny", **record: Any) -> "Run":
        """Returns a run without any node yet."""
        facts = {"pipeline_name": pipeline, "config_path": f"configs/{pipeline}.yaml", "runner": "local"}
        context = self.context("pipeline_run", run_id, **facts | record)
        return Run(self, context, pipeline)

    def record(
        self,
        run_id: str,
        pipeline: str = "tiny",
        *,
        data: str | dict[str, mlmd.Artifact] = "/data/rows.jsonl",
        preset: str = PRESET,
        baseline: mlmd.Artifact | None = None,
        blessed: bool = True,
        trained: dict[str, Any] | None = None,
        measured: dict[str, Any] | None = None,
        reuse: dict[str, mlmd.Artifact] | None = None,
        record: dict[str, Any] | None = None,
    ) -> dict[str, mlmd.Artifact]:
        """Records a whole run; returns what it made, by node.

        Args:
            run_id: Of the run.
            pipeline: Its name.
            data: The data file; or what an earlier run made, whose examples are taken from the cache.
            preset: That training starts from.
            baseline: The blessed model that the candidate is compared with.
            blessed: Whether it is, and so pushed.
            trained: Further properties of the model.
            measured: Properties of the evaluation.
            reuse: What an earlier run made: examples and model come from the cache.
            record: Further properties of the run.
        """
        run = self.start(run_id, pipeline, **record or {})
        made: dict[str, mlmd.Artifact] = {}
        from_cache = reuse or (data if isinstance(data, dict) else None)
        digest = data if isinstance(data, str) else ""
        made["ExampleGen"] = run.node(
            "ExampleGen", {}, "examples", "Examples", reuse=from_cache and from_cache["ExampleGen"],
            data_path=digest, data_sha256=digest.encode().hex().ljust(64, "0")[-64:], rows_read=100,
            rows_by_split=json.dumps(SPLITS),
        )  # fmt: skip
        made["TokenizedSchema"] = run.node(
            "TokenizedSchema", {}, "schema", "Schema", reuse=from_cache and from_cache["TokenizedSchema"]
        )
        made["Tokenizer"] = run.node(
            "Tokenizer", {"examples": made["ExampleGen"]}, "tokenized_examples", "Examples",
            reuse=from_cache and from_cache["Tokenizer"], parameters={"preset": preset},
        )  # fmt: skip
        made["Transform"] = run.node(
            "Transform", {"examples": made["Tokenizer"], "schema": made["TokenizedSchema"]}, "transformed_examples",
            "Examples", reuse=reuse and reuse["Transform"],
        )  # fmt: skip
        made["Trainer"] = run.node(
            "Trainer", {"examples": made["Transform"]}, "model", "Model", reuse=reuse and reuse["Trainer"],
            parameters={"custom_config": json.dumps({"model": {"preset": preset}})},
            **{"method": "lora", "preset": preset, "started_from": preset, "tuned_hash": f"{run_id}-tuned"}
            | {"base_hash": f"{preset}-base"} | (trained or {}),
        )  # fmt: skip
        made["PresetImporter"] = run.node(
            "PresetImporter", {}, "model", "Model", preset=preset,
            parameters={"model_section": json.dumps({"preset": preset})},
        )  # fmt: skip
        run.node("BaselineResolver", {}, "model", "Model", reuse=baseline, event=mlmd.Event.INTERNAL_OUTPUT)
        candidate = {"examples": made["Tokenizer"], "model": made["Trainer"]}
        made["CandidatePredictor"] = run.node("CandidatePredictor", candidate, "predictions", "InferenceResult")
        others = {"baseline_model": baseline} if baseline is not None else {}
        of_baseline = {"examples": made["Tokenizer"], "like": made["PresetImporter"]}
        of_baseline |= {"model": baseline} if baseline is not None else {}
        made["BaselinePredictor"] = run.node("BaselinePredictor", of_baseline, "predictions", "InferenceResult")
        made["Evaluator"], made["blessing"] = run.judge(
            {
                "predictions": made["CandidatePredictor"],
                "baseline_predictions": made["BaselinePredictor"],
                "model": made["Trainer"],
                "preset_model": made["PresetImporter"],
                **others,
            },
            blessed,
            measured or {},
        )
        pushed = {"pushed": 1, "pushed_destination": f"{self.root}/serving/{run_id}", "pushed_version": run_id}
        made["Pusher"] = run.node(
            "Pusher", {"model": made["Trainer"], "model_blessing": made["blessing"]}, "pushed_model", "PushedModel",
            **pushed if blessed else {"pushed": 0},
        )  # fmt: skip
        return made


class Run:
    """A run that is being recorded."""

    def __init__(self, store: SmallStore, context: mlmd.Context, pipeline: str):
        self.store = store
        self.context = context
        self.pipeline = pipeline

    def node(
        self,
        name: str,
        inputs: dict[str, mlmd.Artifact],
        key: str = "",
        kind: str = "",
        *,
        reuse: mlmd.Artifact | None = None,
        state: int | None = None,
        parameters: dict[str, Any] | None = None,
        event: int = mlmd.Event.OUTPUT,
        **properties: Any,
    ) -> mlmd.Artifact | None:
        """Records an execution with one output (or none); `reuse` takes that from the cache. Returns the output."""
        output = reuse
        if output is None and key and event == mlmd.Event.OUTPUT and state in (None, COMPLETE):
            output = self.artifact(name, kind, properties)
        is_cached = reuse is not None and event == mlmd.Event.OUTPUT
        (stored,) = self.execute(
            name, inputs, {key: output} if output is not None else {}, parameters or {},
            state if state is not None else CACHED if is_cached else COMPLETE, event,
        ) or [None]  # fmt: skip
        return stored

    def judge(
        self, inputs: dict[str, mlmd.Artifact], blessed: bool, measured: dict[str, Any]
    ) -> tuple[mlmd.Artifact, mlmd.Artifact]:
        """Records an Evaluator; returns evaluation and blessing."""
        facts = {"metrics": json.dumps({"candidate": {"overall": {"loss": 1.0}}, "preset": {}})} | measured
        verdict = "Blessed: better." if blessed else "Not blessed: worse."
        outputs = {
            "evaluation_result": self.artifact("Evaluator", "ModelEvaluation", {"verdict": verdict} | facts),
            "blessing": self.artifact("Evaluator", "ModelBlessing", {"blessed": int(blessed), "reason": verdict}),
        }
        evaluation, blessing = self.execute("Evaluator", inputs, outputs, {}, COMPLETE)
        return evaluation, blessing

    def artifact(self, node: str, kind: str, properties: dict[str, Any]) -> mlmd.Artifact:
        type_id = self.store.store.put_artifact_type(mlmd.ArtifactType(name=kind))
        uri = f"{self.store.root}/artifacts/{self.pipeline}/{node}/{kind.lower()}/{self.context.name}"
        artifact = mlmd.Artifact(type_id=type_id, uri=uri, state=mlmd.Artifact.LIVE)
        set_properties(artifact, properties)
        return artifact

    def execute(
        self,
        name: str,
        inputs: dict[str, mlmd.Artifact],
        outputs: dict[str, mlmd.Artifact],
        parameters: dict[str, Any],
        state: int,
        output_event: int = mlmd.Event.OUTPUT,
    ) -> list[mlmd.Artifact]:
        is_resolver = name.endswith("Resolver")
        component = f"tfx.dsl.{name}.Resolver" if is_resolver else _COMPONENTS.get(name, f"components.{name}")
        type_id = self.store.store.put_execution_type(mlmd.ExecutionType(name=component))
        execution = mlmd.Execution(type_id=type_id, last_known_state=state)
        set_properties(execution, parameters)
        pairs: list[tuple[mlmd.Artifact, mlmd.Event]] = []
        for kind, slots in ((mlmd.Event.INPUT, inputs), (output_event, outputs)):
            of_kind: dict[int, mlmd.Event] = {}
            for key, artifact in slots.items():
                if id(artifact) not in of_kind:
                    of_kind[id(artifact)] = mlmd.Event(type=kind)
                    pairs.append((artifact, of_kind[id(artifact)]))
                of_kind[id(artifact)].path.steps.add().key = key
                of_kind[id(artifact)].path.steps.add().index = 0
        contexts = [
            self.store.context("pipeline", self.pipeline),
            self.context,
            self.store.context("node", f"{self.pipeline}.{name}"),
        ]
        _, ids, _ = self.store.store.put_execution(execution, pairs, contexts)
        written = ids[len(ids) - len(outputs) :]
        found = {artifact.id: artifact for artifact in self.store.store.get_artifacts_by_id(written)} if written else {}
        return [found[artifact_id] for artifact_id in written]


def set_properties(node: Any, properties: dict[str, Any]) -> None:
    for key, value in properties.items():
        kind = {int: "int_value", float: "double_value", str: "string_value"}[type(value)]
        setattr(node.custom_properties[key], kind, value)
