"""Writes a store of whole runs: all nodes of the pipeline with what they read and write, as TFX records them."""

import json
from pathlib import Path
from typing import Any

from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

PIPELINE = "tiny-gpt2"
# Node: component, inputs (key: node and key that wrote it), outputs (key: type).
NODES: dict[str, tuple[str, dict[str, tuple[str, str]], dict[str, str]]] = {
    "ExampleGen": ("components.example_gen.component.InstructionExampleGen", {}, {"examples": "Examples"}),
    "StatisticsGen": (
        "tfx.components.statistics_gen.component.StatisticsGen",
        {"examples": ("ExampleGen", "examples")},
        {"statistics": "ExampleStatistics"},
    ),
    "SchemaGen": ("components.schema_importer.component.SchemaImporter", {}, {"schema": "Schema"}),
    "ExampleValidator": (
        "components.example_validator.component.ExampleValidator",
        {"statistics": ("StatisticsGen", "statistics"), "schema": ("SchemaGen", "schema")},
        {"anomalies": "ExampleAnomalies"},
    ),
    "Tokenizer": (
        "components.tokenizer.component.Tokenizer",
        {"examples": ("ExampleGen", "examples")},
        {"tokenized_examples": "Examples"},
    ),
    "TokenScorer": (
        "components.token_scorer.component.TokenScorer",
        {"examples": ("Tokenizer", "tokenized_examples")},
        {"scored_examples": "Examples"},
    ),
    "ScoredSchema": ("components.schema_importer.component.SchemaImporter", {}, {"schema": "Schema"}),
    "Transform": (
        "tfx.components.transform.component.Transform",
        {"examples": ("TokenScorer", "scored_examples"), "schema": ("ScoredSchema", "schema")},
        {
            "transform_graph": "TransformGraph",
            "transformed_examples": "Examples",
            "updated_analyzer_cache": "TransformCache",
            "pre_transform_schema": "Schema",
            "pre_transform_stats": "ExampleStatistics",
            "post_transform_schema": "Schema",
            "post_transform_stats": "ExampleStatistics",
            "post_transform_anomalies": "ExampleAnomalies",
        },
    ),
    "CleaningReport": (
        "components.cleaning_report.component.CleaningReport",
        {
            "scored_examples": ("TokenScorer", "scored_examples"),
            "transform_graph": ("Transform", "transform_graph"),
        },
        {"report": "pipeline.TokenCleaningReport"},
    ),
    "Receipt": (
        "components.receipt.component.Receipt",
        {"examples": ("Transform", "transformed_examples")},
        {"receipt": "pipeline.TrainingReceipt"},
    ),
    "Trainer": (
        "components.trainer.component.Trainer",
        {"examples": ("Transform", "transformed_examples"), "transform_graph": ("Transform", "transform_graph")},
        {"model": "Model", "model_run": "ModelRun"},
    ),
    "PresetImporter": ("components.preset_importer.component.PresetImporter", {}, {"model": "Model"}),
    "BaselineResolver": ("tfx.dsl.components.common.resolver.Resolver", {"candidate": ("Trainer", "model")}, {}),
    "CandidatePredictor": (
        "components.predictor.component.Predictor",
        {"examples": ("Tokenizer", "tokenized_examples"), "model": ("Trainer", "model")},
        {"predictions": "InferenceResult"},
    ),
    "PresetPredictor": (
        "components.predictor.component.Predictor",
        {"examples": ("Tokenizer", "tokenized_examples"), "model": ("PresetImporter", "model")},
        {"predictions": "InferenceResult"},
    ),
    "BaselinePredictor": (
        "components.predictor.component.Predictor",
        {
            "examples": ("Tokenizer", "tokenized_examples"),
            "model": ("BaselineResolver", "model"),
            "like": ("PresetImporter", "model"),
        },
        {"predictions": "InferenceResult"},
    ),
    "Evaluator": (
        "components.evaluator.component.Evaluator",
        {
            "predictions": ("CandidatePredictor", "predictions"),
            "preset_predictions": ("PresetPredictor", "predictions"),
            "baseline_predictions": ("BaselinePredictor", "predictions"),
            "model": ("Trainer", "model"),
            "preset_model": ("PresetImporter", "model"),
            "baseline_model": ("BaselineResolver", "model"),
        },
        {"evaluation_result": "ModelEvaluation", "blessing": "ModelBlessing"},
    ),
    "Pusher": (
        "components.pusher.component.Pusher",
        {"model": ("Trainer", "model"), "model_blessing": ("Evaluator", "blessing")},
        {"pushed_model": "PushedModel"},
    ),
}
# What a run with another learning rate does anew; it takes the rest from the cache.
FROM_TRAINER = ("Trainer", "CandidatePredictor", "BaselinePredictor", "Evaluator", "Pusher")


class RunWriter:
    """Writes whole runs, one call to the store each."""

    def __init__(self, path: Path, root: str = "/runs"):
        config = mlmd.ConnectionConfig()
        config.sqlite.filename_uri = str(path)
        config.sqlite.connection_mode = mlmd.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
        self.store = MetadataStore(config)
        self.root = root
        self.types: dict[tuple[str, str], int] = {}
        self.contexts: dict[tuple[str, str], mlmd.Context] = {}

    def record(
        self,
        run: str,
        *,
        reuse: dict[tuple[str, str], int] | None = None,
        ran: tuple[str, ...] | None = None,
        baseline: dict[tuple[str, str], int] | None = None,
        failed: str | None = None,
        running: str | None = None,
        blessed: bool = True,
        pipeline: str = PIPELINE,
        extra: dict[str, Any] | None = None,
    ) -> dict[tuple[str, str], int]:
        """Records a run; returns the ids of its artifacts by node and key.

        Args:
            run: Its id.
            reuse: What an earlier call returned: nodes that are not in `ran` are taken from its cache.
            ran: Nodes that run although there is something to reuse.
            baseline: What an earlier call returned: the run whose model the BaselineResolver selects.
            failed: The node that fails; those behind it are missing.
            running: The node that still runs.
            blessed: Whether the gate lets the model pass.
            pipeline: The pipeline's name.
            extra: Further properties of every execution and artifact.
        """
        executions: list[mlmd.Execution] = []
        artifacts: list[mlmd.Artifact] = []
        edges: list[tuple[int | None, int | None, mlmd.Event]] = []
        nodes: list[str] = []
        known: dict[tuple[str, str], tuple[int | None, int | None]] = {}  # index in this call, id in the store
        for node, (component, inputs, outputs) in NODES.items():
            if any(source not in known and source[0] != "BaselineResolver" for source in inputs.values()):
                continue
            is_cached = reuse is not None and node not in (*(ran or ()), "BaselineResolver")
            state = mlmd.Execution.CACHED if is_cached else mlmd.Execution.COMPLETE
            state = {failed: mlmd.Execution.FAILED, running: mlmd.Execution.RUNNING}.get(node, state)
            execution = mlmd.Execution(type_id=self.get_type("execution", component), last_known_state=state)
            set_properties(
                execution, {"custom_config": json.dumps({"learning_rate": 0.01, "node": node})} | (extra or {})
            )
            number = len(executions)
            executions.append(execution)
            nodes.append(node)
            # TFX has one kind of event for what a resolver is given and what it finds.
            is_resolver = node == "BaselineResolver"
            kind = mlmd.Event.INTERNAL_OUTPUT if is_resolver else mlmd.Event.INPUT
            read = {key: known[source] for key, source in inputs.items() if source in known}
            if is_resolver and baseline is not None:
                read["model"] = known[node, "model"] = (None, baseline["Trainer", "model"])
                read["model_blessing"] = (None, baseline["Evaluator", "blessing"])
            events: dict[tuple[int | None, int | None], mlmd.Event] = {}
            for key, place in read.items():
                # Like TFX: an artifact under two keys has one event with two paths.
                event = events.setdefault(place, mlmd.Event(type=kind))
                event.path.steps.add().key = key
                event.path.steps.add().index = 0
            edges += [(number, index, with_id(event, known_id)) for (index, known_id), event in events.items()]
            if node in (failed, running):
                continue
            for key, type_name in outputs.items():
                event = mlmd.Event(type=mlmd.Event.OUTPUT)
                event.path.steps.add().key = key
                event.path.steps.add().index = 0
                if is_cached and reuse is not None:
                    known[node, key] = (None, reuse[node, key])
                    event.artifact_id = reuse[node, key]
                    edges.append((number, None, event))
                    continue
                artifact = mlmd.Artifact(
                    type_id=self.get_type("artifact", type_name),
                    uri=f"{self.root}/artifacts/{pipeline}/{node}/{key}/{run}",
                    state=mlmd.Artifact.LIVE,
                )
                set_properties(artifact, self.describe(node, type_name, run, blessed) | (extra or {}))
                known[node, key] = (len(artifacts), None)
                edges.append((number, len(artifacts), event))
                artifacts.append(artifact)
        run_properties = {
            "pipeline_name": pipeline,
            "config": "train:\n  learning_rate: 0.01\n",
            "code_version": "c0ffee",
        }
        shared = [
            self.get_context("pipeline", pipeline),
            self.get_context("pipeline_run", run, run_properties | (extra or {})),
        ]
        execution_ids, artifact_ids, _ = self.store.put_lineage_subgraph(executions, artifacts, shared, edges)
        links = [
            mlmd.Association(execution_id=execution_id, context_id=self.get_context("node", f"{pipeline}.{node}").id)
            for execution_id, node in zip(execution_ids, nodes, strict=True)
        ]
        self.store.put_attributions_and_associations([], links)
        return {key: artifact_ids[index] if index is not None else known_id for key, (index, known_id) in known.items()}

    def record_many(self, count: int) -> list[dict[tuple[str, str], int]]:
        """Records so many runs: every fifth runs all nodes, the others train anew on what the last of these prepared."""
        made: list[dict[tuple[str, str], int]] = []
        whole: dict[tuple[str, str], int] | None = None
        for number in range(count):
            run, baseline = f"20261101-{number:06}-000000", made[-1] if made else None
            if number % 5 == 0:
                whole = self.record(run, baseline=baseline, blessed=number % 3 > 0)
                made.append(whole)
            else:
                made.append(self.record(run, reuse=whole, ran=FROM_TRAINER, baseline=baseline, blessed=number % 3 > 0))
        return made

    def describe(self, node: str, kind: str, run: str, blessed: bool) -> dict[str, Any]:
        """Returns properties as the components record them."""
        if node == "ExampleGen":
            return {"data_path": "data/sample.jsonl", "data_sha256": "a" * 64, "rows_kept": 2000}
        if (node, kind) == ("Trainer", "Model"):
            return {"method": "lora", "preset": "tiny_gpt2_en", "eval_loss_after": 2.25}
        if kind == "ModelBlessing":
            return {"blessed": int(blessed)}
        if kind == "PushedModel" and blessed:
            return {"pushed": 1, "pushed_destination": f"{self.root}/serving/{PIPELINE}/{run}", "pushed_version": run}
        if kind == "ModelEvaluation":
            return {"metrics": json.dumps({"candidate": {"overall": {"perplexity": 11.25}}}), "verdict": "better"}
        return {}

    def get_type(self, what: str, name: str) -> int:
        """Returns the id of a type of artifacts, executions or contexts."""
        if (what, name) not in self.types:
            message = {"artifact": mlmd.ArtifactType, "execution": mlmd.ExecutionType, "context": mlmd.ContextType}[
                what
            ]
            self.types[what, name] = getattr(self.store, f"put_{what}_type")(message(name=name))
        return self.types[what, name]

    def get_context(self, kind: str, name: str, properties: dict[str, Any] | None = None) -> mlmd.Context:
        """Returns a context, which is made if it is new."""
        if (kind, name) not in self.contexts:
            context = mlmd.Context(type_id=self.get_type("context", kind), name=name)
            set_properties(context, properties or {})
            (context.id,) = self.store.put_contexts([context])
            self.contexts[kind, name] = context
        # With all of its properties: what is written with a context replaces them.
        return self.contexts[kind, name]


def with_id(event: mlmd.Event, artifact_id: int | None) -> mlmd.Event:
    if artifact_id is not None:
        event.artifact_id = artifact_id
    return event


def set_properties(record: Any, properties: dict[str, Any]) -> None:
    for key, value in properties.items():
        kind = {int: "int_value", float: "double_value", str: "string_value"}[type(value)]
        setattr(record.custom_properties[key], kind, value)
