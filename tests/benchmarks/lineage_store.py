"""Writes a metadata store with many runs, as this pipeline records them, through ML Metadata's own interface.

Several pipelines take turns. Every fifth run of a pipeline reads new data; every tenth repeats the one before, from the cache; some
fail in the Trainer, some are killed there; a third is not blessed. Nodes, artifacts, events and properties are those of a real
run of the default pipeline; files there are none.

    python tests/benchmarks/lineage_store.py FILE --runs 2000
"""

import argparse
import hashlib
import json
import random
import socket
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from ml_metadata.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

ROOT = Path(__file__).resolve().parents[2]
PIPELINES = ("support-lora", "support-full", "legal-lora", "chat-qlora")
PRESET = "data/base/tiny_gpt2_en"
_START = datetime(2025, 1, 6, 3, tzinfo=UTC)
_SPLITS = '["train", "eval", "test"]'
_TYPES = {
    "ExampleGen": "components.example_gen.component.InstructionExampleGen",
    "SchemaGen": "components.schema_importer.component.SchemaImporter",
    "TokenizedSchema": "components.schema_importer.component.SchemaImporter",
    "PresetImporter": "components.preset_importer.component.PresetImporter",
    "StatisticsGen": "tfx.components.statistics_gen.component.StatisticsGen",
    "ExampleValidator": "components.example_validator.component.ExampleValidator",
    "Tokenizer": "components.tokenizer.component.Tokenizer",
    "Transform": "tfx.components.transform.component.Transform",
    "PresetPredictor": "components.predictor.component.Predictor",
    "Trainer": "components.trainer.component.Trainer",
    "CandidatePredictor": "components.predictor.component.Predictor",
    "BaselinePredictor": "components.predictor.component.Predictor",
    "Evaluator": "components.evaluator.component.Evaluator",
    "Pusher": "components.pusher.component.Pusher",
}


def connect(target: Path | mlmd.ConnectionConfig | mlmd.MetadataStoreClientConfig) -> MetadataStore:
    """Opens a store for writing; a path is that of a SQLite file."""
    if not isinstance(target, Path):
        return MetadataStore(target)
    config = mlmd.ConnectionConfig()
    config.sqlite.filename_uri = str(target)
    config.sqlite.connection_mode = mlmd.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
    return MetadataStore(config)


@dataclass
class _Recorded:
    """What one run leaves to the next ones of its pipeline: artifacts by node and key."""

    outputs: dict[str, dict[str, mlmd.Artifact]] = field(default_factory=dict)
    blessed_model: mlmd.Artifact | None = None


class StoreWriter:
    """Records runs.

    Args:
        store: Opened for writing.
        root: What all URIs are below.
        seed: Of all that varies.
    """

    def __init__(self, store: MetadataStore, root: str = "/srv/runs", seed: int = 0):
        self.store = store
        self.root = root
        self.random = random.Random(seed)
        self._types: dict[tuple[str, str], int] = {}
        self._contexts: dict[tuple[str, str], mlmd.Context] = {}
        self._last: dict[str, _Recorded] = {}
        self._config = yaml.safe_load((ROOT / "configs/runs/tiny_gpt2_en_lora.yaml").read_text(encoding="utf-8"))

    def record_run(self, number: int, state: str | None = None) -> str:
        """Records a run and returns its id.

        Args:
            number: Of the run, from 0; says which pipeline it is of, what is new in it, and how it ends.
            state: `complete`, `failed`, `killed`; None: by the number.
        """
        name = PIPELINES[number % len(PIPELINES)]
        turn = number // len(PIPELINES)
        before = self._last.setdefault(name, _Recorded())
        if state is None:
            state = "failed" if turn % 20 == 13 else "killed" if turn % 50 == 27 else "complete"
        repeats = bool(before.outputs.get("Pusher")) and turn % 10 == 9
        fresh_data = not before.outputs or (turn % 5 == 0 and not repeats)
        run = _Run(self, name, number, turn // 5, state)
        run.record(before, fresh_data=fresh_data, repeats=repeats)
        return run.run_id

    def type_id(self, kind: str, name: str) -> int:
        """Returns the id of a type of `artifact`, `execution` or `context`, which is made if there is none."""
        if (kind, name) not in self._types:
            make = getattr(mlmd, f"{kind.capitalize()}Type")
            self._types[kind, name] = getattr(self.store, f"put_{kind}_type")(make(name=name))
        return self._types[kind, name]

    def context(self, kind: str, name: str, properties: dict[str, Any] | None = None) -> mlmd.Context:
        """Returns a stored context, which is made if there is none."""
        if (kind, name) not in self._contexts:
            context = mlmd.Context(type_id=self.type_id("context", kind), name=name)
            set_properties(context, properties or {})
            context.id = self.store.put_contexts([context])[0]
            self._contexts[kind, name] = context
        return self._contexts[kind, name]

    def make_config(self, name: str, number: int, data_path: str) -> dict[str, Any]:
        """Returns the configuration of a run; learning rate, steps and seed are its own."""
        config = json.loads(json.dumps(self._config))
        config["pipeline"]["name"] = name
        config["data"]["path"] = data_path
        config["method"] = {"name": name.rpartition("-")[2]}
        config["train"] |= {
            "learning_rate": self.random.choice([1e-5, 3e-5, 1e-4, 3e-4]),
            "max_steps": self.random.choice([200, 500, 1000]),
            "seed": number,
        }
        # As long as a whole one with all of its defaults.
        config["notes"] = {f"default_{i}": "a value of the usual length" for i in range(60)}
        return config


class _Run:
    """One run while it is recorded."""

    def __init__(self, writer: StoreWriter, name: str, number: int, data_version: int, state: str):
        self.writer, self.name, self.state, self.number = writer, name, state, number
        started = _START + timedelta(hours=6 * number)
        self.run_id = started.strftime("%Y%m%d-%H%M%S-") + f"{number:06d}"
        self.started_at = started.isoformat()
        self.data_path = f"data/{name}/rows-{data_version:04d}.jsonl"
        self.executions: list[mlmd.Execution] = []
        self.nodes: list[str] = []
        self.artifacts: list[mlmd.Artifact] = []
        self.edges: list[tuple[int, int, mlmd.Event]] = []

    def record(self, before: _Recorded, fresh_data: bool, repeats: bool) -> None:
        config = self.writer.make_config(self.name, self.number, self.data_path)
        self.settings = config
        made = {} if fresh_data else dict(before.outputs)
        reused = set(made) if repeats else set() if fresh_data else set(_DATA_NODES) & set(made)
        for node, (inputs, make) in _NODES.items():
            if node in reused:
                self._add(node, self._find(inputs, made, before), made[node], mlmd.Execution.CACHED)
                continue
            ends_here = self.state != "complete" and node == "Trainer"
            state = mlmd.Execution.COMPLETE
            if ends_here:
                state = mlmd.Execution.FAILED if self.state == "failed" else mlmd.Execution.RUNNING
            outputs = {} if ends_here else {key: self._artifact(node, *what) for key, what in make(self).items()}
            self._add(node, self._find(inputs, made, before), outputs, state)
            made[node] = outputs
            if ends_here:
                break
        self._write(config)
        if self.state == "complete":
            before.outputs = made
            if _get(made["Evaluator"]["blessing"], "blessed"):
                before.blessed_model = made["Trainer"]["model"]

    def _find(self, inputs: tuple[str, ...], made: dict, before: _Recorded) -> dict[str, mlmd.Artifact]:
        found = {}
        for text in inputs:
            node, key, name = text.split(".")
            if node == "baseline":
                if before.blessed_model is not None:
                    found[name] = before.blessed_model
            else:
                found[name] = made[node][key]
        return found

    def _artifact(self, node: str, kind: str, properties: dict[str, Any], declared: dict[str, Any]) -> mlmd.Artifact:
        # The number of the run keeps URIs apart, as the id of an execution does in a real one.
        key = kind.lower()
        uri = f"{self.writer.root}/artifacts/{self.name}/{node}/{key}/{self.number}"
        artifact = mlmd.Artifact(
            type_id=self.writer.type_id("artifact", kind), uri=uri, state=mlmd.Artifact.LIVE, type=kind
        )
        content = hashlib.sha256(uri.encode()).hexdigest()
        common = {"tfx_version": "1.21.0", "is_external": 0, "content_sha256": content, "content_bytes": 123_456}
        set_properties(artifact, common | properties | declared)
        return artifact

    def _add(self, node: str, inputs: dict, outputs: dict, state: int) -> None:
        execution = mlmd.Execution(
            type_id=self.writer.type_id("execution", _TYPES[node]), last_known_state=state, name=f"{self.run_id}.{node}"
        )
        settings = {"code_hash": f"{self.number // 40:064x}", "custom_config": json.dumps(self.settings["train"])}
        set_properties(execution, settings)
        if state == mlmd.Execution.FAILED:
            set_properties(execution, {"failure": "ResourceExhaustedError: out of memory"})
        self.executions.append(execution)
        self.nodes.append(node)
        for kind, slots in ((mlmd.Event.INPUT, inputs), (mlmd.Event.OUTPUT, outputs)):
            by_artifact: dict[int, tuple[mlmd.Artifact, list[str]]] = {}
            for key, artifact in slots.items():
                by_artifact.setdefault(id(artifact), (artifact, []))[1].append(key)
            for artifact, keys in by_artifact.values():
                event = mlmd.Event(type=kind)
                for key in keys:
                    event.path.steps.add().key = key
                    event.path.steps.add().index = 0
                self.edges.append((len(self.executions) - 1, self._place(artifact), event))

    def _place(self, artifact: mlmd.Artifact) -> int:
        for place, known in enumerate(self.artifacts):
            if known is artifact:
                return place
        self.artifacts.append(artifact)
        return len(self.artifacts) - 1

    def _write(self, config: dict[str, Any]) -> None:
        text = yaml.safe_dump(config, sort_keys=False)
        digest = _hash_code(self.number)
        record = {
            "config": text, "config_path": f"configs/runs/{self.name}.yaml",
            "config_sha256": hashlib.sha256(text.encode()).hexdigest(), "pipeline_name": self.name, "runner": "local",
            "code_version": get_commit(self.number), "code_dirty": "false", "code_sha256": digest, "lock_sha256": digest[::-1],
            "hardware": "AMD EPYC x 2, 15.6 GiB", "started_at": self.started_at, "method": config["method"]["name"],
            "preset": PRESET, "data_path": self.data_path, "seed": self.number, "nodes": json.dumps(list(_NODES)),
            "process": f"{socket.gethostname()} 4194303 0.00", "inputs": json.dumps({"data": digest, "code": digest}),
        }  # fmt: skip
        store = self.writer.store
        contexts = [
            self.writer.context("pipeline", self.name),
            self.writer.context("pipeline_run", self.run_id, record),
        ]
        executions, artifacts, _ = store.put_lineage_subgraph(self.executions, self.artifacts, contexts, self.edges)
        for artifact, artifact_id in zip(self.artifacts, artifacts, strict=True):
            artifact.id = artifact_id
        outputs = [(e, a) for e, a, event in self.edges if event.type == mlmd.Event.OUTPUT]
        contexts_of = [self.writer.context("node", f"{self.name}.{node}").id for node in self.nodes]
        store.put_attributions_and_associations(
            [mlmd.Attribution(artifact_id=artifacts[a], context_id=contexts_of[e]) for e, a in outputs],
            [
                mlmd.Association(execution_id=execution, context_id=context)
                for execution, context in zip(executions, contexts_of, strict=True)
            ],
        )


def _examples(run: _Run) -> dict:
    digest = hashlib.sha256(run.data_path.encode()).hexdigest()
    rows = 5000 + int(digest[:3], 16)
    counts = {"rows_read": rows, "rows_kept": rows - 12, "rows_quarantined": 12}
    splits = json.dumps({"train": rows - 1012, "eval": 500, "test": 500})
    told = {"data_path": run.data_path, "data_sha256": digest, "rows_by_split": splits, "input_fingerprint": digest}
    return {"examples": ("Examples", counts | told, {"split_names": _SPLITS, "span": 0})}


def _model(run: _Run) -> dict:
    train, method = run.settings["train"], run.settings["method"]["name"]
    loss = round(2 + run.writer.random.random(), 6)
    facts = {
        "method": method, "preset": PRESET, "started_from": PRESET, "base_hash": "5" * 64,
        "tuned_hash": hashlib.sha256(run.run_id.encode()).hexdigest(), "seed": train["seed"], "strategy": "one_device",
        "steps": train["max_steps"], "planned_steps": train["max_steps"], "best_step": train["max_steps"],
        "trainable_parameters": 405_504, "total_parameters": 4_744_704, "eval_loss_before": 7.638453,
        "eval_loss_after": loss, "seconds": 248.2, "tokens_per_second": 2694.7, "tokens_seen": 668_928,
        "target_tokens_seen": 66_516, "padding_share": 0.0786, "epochs": 4.0, "device": "cpu:0",
        "backend": "tensorflow", "jit_compile": 0, "stopped_early": 0, "num_replicas": 1, "micro_batch_tokens": 2830,
        "compiled_lengths": 7, "hardware": "AMD EPYC x 2, 15.6 GiB",
    }  # fmt: skip
    return {"model": ("Model", facts, {}), "model_run": ("ModelRun", {}, {})}


def _evaluation(run: _Run) -> dict:
    perplexity = round(run.writer.random.uniform(4, 40), 4)
    values = {"perplexity": perplexity, "token_accuracy": round(1 / perplexity, 4), "example_count": 500.0}
    metrics = {name: {"overall": values, "kind=a": values, "kind=b": values} for name in ("candidate", "preset")}
    run.blessed = int(run.writer.random.random() < 2 / 3)
    verdict = "better: perplexity" if run.blessed else "not enough evidence: perplexity"
    told = {"verdict": verdict, "baseline": "untouched preset", "metrics": json.dumps(metrics), "intervals": "{}"}
    told |= {"changes": "{}"}
    checks = json.dumps([{"metric": "perplexity", "slice": "overall", "kind": "change", "verdict": "better"}])
    return {
        "evaluation": ("ModelEvaluation", told, {}),
        "blessing": ("ModelBlessing", {"blessed": run.blessed, "reason": verdict, "checks": checks}, {}),
    }


def _pushed(run: _Run) -> dict:
    if not run.blessed:
        return {"pushed_model": ("PushedModel", {"pushed": 0}, {})}
    place = f"{run.writer.root}/serving/{run.name}/{run.number}"
    told = {"pushed": 1, "pushed_destination": place, "pushed_version": str(run.number)}
    return {"pushed_model": ("PushedModel", told, {})}


def _of(key: str, kind: str, **properties: Any) -> Any:
    return lambda run: {key: (kind, properties, {})}


_COUNTS = {"tokens": 215_240, "target_tokens": 20_794, "examples": 6400, "examples_truncated": 0, "examples_empty": 0}
_PREDICTED = {"examples": 500, "target_tokens": 2004, "completion_tokens": 4968, "milliseconds": 14_903}
# Node to what it reads (node, key there, key here) and what it makes.
_NODES: dict[str, tuple[tuple[str, ...], Any]] = {
    "ExampleGen": ((), _examples),
    "SchemaGen": ((), _of("schema", "Schema")),
    "TokenizedSchema": ((), _of("schema", "Schema")),
    "PresetImporter": ((), _of("model", "Model", preset=PRESET, preset_hash="2" * 64)),
    "StatisticsGen": (("ExampleGen.examples.examples",), _of("statistics", "ExampleStatistics")),
    "ExampleValidator": (
        ("StatisticsGen.statistics.statistics", "SchemaGen.schema.schema"),
        _of("anomalies", "ExampleAnomalies"),
    ),
    "Tokenizer": (("ExampleGen.examples.examples",), _of("tokenized_examples", "Examples", **_COUNTS)),
    "Transform": (
        ("Tokenizer.tokenized_examples.examples", "TokenizedSchema.schema.schema"),
        lambda run: {
            "transformed_examples": ("Examples", {}, {"split_names": _SPLITS}),
            "transform_graph": ("TransformGraph", {}, {}),
            "updated_analyzer_cache": ("TransformCache", {}, {}),
        },
    ),
    "PresetPredictor": (
        ("Tokenizer.tokenized_examples.examples", "PresetImporter.model.model"),
        _of("predictions", "InferenceResult", **_PREDICTED),
    ),
    "Trainer": (("Transform.transformed_examples.examples", "Transform.transform_graph.transform_graph"), _model),
    "CandidatePredictor": (
        ("Tokenizer.tokenized_examples.examples", "Trainer.model.model"),
        _of("predictions", "InferenceResult", **_PREDICTED),
    ),
    "BaselinePredictor": (
        ("Tokenizer.tokenized_examples.examples", "PresetImporter.model.like", "baseline.model.model"),
        _of("predictions", "InferenceResult", **_PREDICTED),
    ),
    "Evaluator": (
        (
            "Tokenizer.tokenized_examples.examples", "Trainer.model.model", "baseline.model.baseline_model",
            "CandidatePredictor.predictions.candidate", "BaselinePredictor.predictions.baseline",
            "PresetPredictor.predictions.preset",
        ),
        _evaluation,
    ),
    "Pusher": (("Trainer.model.model", "Evaluator.blessing.model_blessing"), _pushed),
}  # fmt: skip
_DATA_NODES = (
    "ExampleGen", "SchemaGen", "TokenizedSchema", "PresetImporter", "StatisticsGen", "ExampleValidator", "Tokenizer",
    "Transform", "PresetPredictor",
)  # fmt: skip


def set_properties(node: Any, properties: dict[str, Any]) -> None:
    """Sets custom properties by the types of their values."""
    for key, value in properties.items():
        kind = {int: "int_value", float: "double_value", str: "string_value"}[type(value)]
        setattr(node.custom_properties[key], kind, value)


def _get(artifact: mlmd.Artifact, name: str) -> int:
    return artifact.custom_properties[name].int_value


def get_commit(number: int) -> str:
    """Returns the commit that a run was made with; forty runs share one."""
    return _hash_code(number)[:40]


def _hash_code(number: int) -> str:
    return hashlib.sha256(f"{number // 40}".encode()).hexdigest()


def write_store(
    target: Path | mlmd.ConnectionConfig | mlmd.MetadataStoreClientConfig, runs: int, seed: int = 0
) -> list[str]:
    """Writes a store with so many runs; returns their ids, the oldest first."""
    writer = StoreWriter(connect(target), seed=seed)
    ids = []
    for number in range(runs):
        ids.append(writer.record_run(number))
        if sys.stderr.isatty() and number % 50 == 0:
            print(f"\r{number:,} of {runs:,} runs", end="", file=sys.stderr)
    return ids


def main() -> None:
    """Writes a SQLite file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.file.exists():
        sys.exit(f"{arguments.file} exists already.")
    write_store(arguments.file, arguments.runs, arguments.seed)


if __name__ == "__main__":
    main()
