"""Fixtures of this folder: a store that is written through ML Metadata's own interface, as TFX and this project write it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

from pipeline.cli import main
from pipeline.lineage.store import open_store

COMPLETE, CACHED, FAILED = mlmd.Execution.COMPLETE, mlmd.Execution.CACHED, mlmd.Execution.FAILED
COMMIT = "0123456789abcdef0123456789abcdef01234567"
METRICS = {
    "preset": {"overall": {"perplexity": 30.5}},
    "baseline": None,
    "candidate": {"overall": {"perplexity": 11.25, "example_count": 12}, "kind=a": {"perplexity": 6.75}},
}
INTERVALS = {"overall": {"perplexity": [10.5, 12.25]}, "kind=a": {"perplexity": [6.0, 7.5]}}


class ExportStore:
    """Records runs. Numbers, times and places are what the caller says, so that two stores can be equal."""

    def __init__(self, root: Path, place: str = "/runs", pipeline: str = "tiny"):
        root.mkdir(exist_ok=True)
        config = mlmd.ConnectionConfig()
        config.sqlite.filename_uri = str(root / "metadata.sqlite")
        config.sqlite.connection_mode = mlmd.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
        self.store = MetadataStore(config)
        self.reader = lambda: open_store(config)
        self.root, self.place, self.pipeline = root, place, pipeline

    def start_run(self, run: str, **recorded: str | int) -> None:
        """Makes the context of a run, with what was recorded of it."""
        self._context("pipeline_run", run, recorded)

    def artifact(self, kind: str, uri: str, **recorded: Any) -> mlmd.Artifact:
        """Makes an artifact that is not stored yet."""
        type_id = self.store.put_artifact_type(mlmd.ArtifactType(name=kind))
        artifact = mlmd.Artifact(type_id=type_id, uri=f"{self.place}/{uri}", state=mlmd.Artifact.LIVE)
        set_properties(artifact, recorded)
        return artifact

    def execution(
        self,
        run: str,
        node: str,
        inputs: dict[str, mlmd.Artifact] | None = None,
        outputs: dict[str, mlmd.Artifact] | None = None,
        state: int = COMPLETE,
        **recorded: Any,
    ) -> dict[str, mlmd.Artifact]:
        """Records an execution; returns its outputs, stored."""
        type_id = self.store.put_execution_type(mlmd.ExecutionType(name=f"components.{node.lower()}.component.{node}"))
        execution = mlmd.Execution(type_id=type_id, last_known_state=state)
        set_properties(execution, recorded)
        pairs = []
        for kind, slots in ((mlmd.Event.INPUT, inputs or {}), (mlmd.Event.OUTPUT, outputs or {})):
            for key, artifact in slots.items():
                event = mlmd.Event(type=kind)
                event.path.steps.add().key = key
                pairs.append((artifact, event))
        contexts = [
            self._context(kind, name, {})
            for kind, name in (("pipeline", self.pipeline), ("pipeline_run", run), ("node", f"{self.pipeline}.{node}"))
        ]
        _, ids, _ = self.store.put_execution(execution, pairs, contexts)
        stored = self.store.get_artifacts_by_id(ids[len(inputs or {}) :])
        by_id = {artifact.id: artifact for artifact in stored}
        return {key: by_id[i] for key, i in zip(outputs or {}, ids[len(inputs or {}) :], strict=True)}

    def record_run(
        self,
        run: str = "run-1",
        lock_sha256: str = "f" * 64,
        reuse: dict[str, mlmd.Artifact] | None = None,
        **recorded: Any,
    ) -> dict[str, mlmd.Artifact]:
        """Records a whole run, from the data to the push; `reuse` takes all before the Evaluator from the cache."""
        config = "text:\n  template: alpaca\n"
        facts = {
            "config": config, "config_path": "configs/runs/tiny.yaml", "pipeline_name": self.pipeline,
            "code_version": COMMIT, "code_dirty": "false", "code_sha256": "c" * 64, "lock_sha256": lock_sha256,
            "nodes": json.dumps(["ExampleGen", "Trainer", "Evaluator", "Pusher"]),
        } | recorded  # fmt: skip
        self.start_run(run, **facts)
        made = dict(reuse or {})
        if reuse:
            self.execution(run, "ExampleGen", {}, {"examples": made["examples"]}, CACHED)
            self.execution(run, "Trainer", {"examples": made["examples"]}, {"model": made["model"]}, CACHED)
        else:
            examples = self.artifact(
                "Examples", f"ExampleGen/{run}", data_path="data/sample.jsonl", data_sha256="a" * 64, rows_read=100,
                rows_kept=97, rows_quarantined=3, rows_by_split=json.dumps({"train": 80, "eval": 17}),
                content_sha256="e" * 64, content_bytes=4096, content_files=2, tfx_version="1.21.0",
            )  # fmt: skip
            made |= self.execution(run, "ExampleGen", {}, {"examples": examples})
            model = self.artifact(
                "Model", f"Trainer/{run}", method="lora", preset="data/base/tiny", started_from="data/base/tiny",
                base_hash="b" * 64, tuned_hash="d" * 64, seed=7, tfx_version="1.21.0",
            )  # fmt: skip
            made |= self.execution(
                run, "Trainer", {"examples": made["examples"]}, {"model": model}, custom_config='{"a": 1}'
            )
        made |= self.execution(
            run,
            "Evaluator",
            {"examples": made["examples"], "model": made["model"]},
            {
                "evaluation": self.artifact(
                    "ModelEvaluation", f"Evaluator/{run}", metrics=json.dumps(METRICS), intervals=json.dumps(INTERVALS),
                    verdict="better", baseline="untouched preset",
                ),
                "blessing": self.artifact("ModelBlessing", f"blessing/{run}", blessed=1, reason="all hold"),
            },
        )  # fmt: skip
        pushed = self.artifact(
            "PushedModel",
            f"Pusher/{run}",
            pushed=1,
            pushed_destination=f"{self.place}/serving/{run}",
            pushed_version=run,
        )
        inputs = {"model": made["model"], "model_blessing": made["blessing"]}
        return made | self.execution(run, "Pusher", inputs, {"pushed_model": pushed})

    def export(self, *arguments: str, env: dict[str, str] | None = None) -> Result:
        """Runs `lineage export` on this store."""
        return CliRunner().invoke(main, ["lineage", "export", *arguments, "--root", str(self.root)], env=env)

    def _context(self, kind: str, name: str, recorded: dict[str, Any]) -> mlmd.Context:
        type_id = self.store.put_context_type(mlmd.ContextType(name=kind))
        known = self.store.get_context_by_type_and_name(kind, name)
        if known is None:
            context = mlmd.Context(type_id=type_id, name=name)
            set_properties(context, recorded)
            self.store.put_contexts([context])
            known = self.store.get_context_by_type_and_name(kind, name)
        return known


def set_properties(node: Any, recorded: dict[str, Any]) -> None:
    for key, value in recorded.items():
        kind = {int: "int_value", float: "double_value", str: "string_value"}[type(value)]
        setattr(node.custom_properties[key], kind, value)


@pytest.fixture
def make_store(tmp_path: Path) -> Callable[..., ExportStore]:
    """Returns a function that makes a store: its name, and where its runs say that they write."""
    return lambda name="root", **settings: ExportStore(tmp_path / name, **settings)


@pytest.fixture
def store(make_store: Callable[..., ExportStore]) -> ExportStore:
    return make_store()
