"""Tests of the lineage trace, on a store written through ML Metadata's own interface."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd
from rich.console import Console

from components.errors import UserError
from pipeline.lineage import graph, trace_view
from pipeline.lineage import store as lineage_store
from pipeline.lineage import trace as lineage

COMPLETE, CACHED, FAILED = mlmd.Execution.COMPLETE, mlmd.Execution.CACHED, mlmd.Execution.FAILED
PIPELINE = "tiny-gpt2"
CONFIG = "pipeline:\n  name: tiny-gpt2\n"
METRICS = {
    "preset": {"overall": {"perplexity": 30.5, "example_count": 12}, "kind=a": {"perplexity": 7.75}},
    "baseline": None,
    "candidate": {"overall": {"perplexity": 11.25, "example_count": 12}, "kind=a": {"perplexity": 6.75}},
}


def connect(path: Path) -> mlmd.ConnectionConfig:
    config = mlmd.ConnectionConfig()
    config.sqlite.filename_uri = str(path)
    config.sqlite.connection_mode = mlmd.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
    return config


class StoreWriter:
    """Records runs as TFX does: typed executions in a run's, a node's and a pipeline's context, artifacts with events."""

    def __init__(self, path: Path, root: str):
        self.store = MetadataStore(connect(path))
        self.root = root

    def context(self, kind: str, name: str, **properties: Any) -> int:
        type_id = self.store.put_context_type(mlmd.ContextType(name=kind))
        if known := self.store.get_context_by_type_and_name(kind, name):
            return known.id
        context = mlmd.Context(type_id=type_id, name=name)
        set_properties(context, properties)
        return self.store.put_contexts([context])[0]

    def artifact(self, kind: str, uri: str, **properties: Any) -> mlmd.Artifact:
        type_id = self.store.put_artifact_type(mlmd.ArtifactType(name=kind))
        artifact = mlmd.Artifact(type_id=type_id, uri=f"{self.root}/{uri}", state=mlmd.Artifact.LIVE)
        set_properties(artifact, properties)
        return artifact

    def execution(self, run: str, node: str, inputs: dict, outputs: dict, state: int = COMPLETE) -> list[mlmd.Artifact]:
        """Records an execution; returns its outputs, stored."""
        type_id = self.store.put_execution_type(mlmd.ExecutionType(name=f"components.{node.lower()}.component.{node}"))
        execution = mlmd.Execution(type_id=type_id, last_known_state=state)
        pairs: list[tuple[mlmd.Artifact, mlmd.Event]] = []
        for kind, slots in ((mlmd.Event.INPUT, inputs), (mlmd.Event.OUTPUT, outputs)):
            for key, artifact in slots.items():
                # Like TFX: an artifact under two keys has one event with two paths.
                event = next((event for known, event in pairs if known is artifact), mlmd.Event(type=kind))
                event.path.steps.add().key = key
                event.path.steps.add().index = 0
                if not any(known is artifact for known, _ in pairs):
                    pairs.append((artifact, event))
        named = {"pipeline": PIPELINE, "pipeline_run": run, "node": f"{PIPELINE}.{node}"}
        contexts = self.store.get_contexts_by_id([self.context(kind, name) for kind, name in named.items()])
        _, artifact_ids, _ = self.store.put_execution(execution, pairs, contexts)
        return self.store.get_artifacts_by_id(artifact_ids[-len(outputs) :] if outputs else [])

    def record_run(
        self,
        run: str,
        reuse: dict[str, mlmd.Artifact] | None = None,
        baseline: mlmd.Artifact | None = None,
        blessed: int = 1,
        pushed: bool = True,
    ) -> dict[str, mlmd.Artifact]:
        """Records a whole run. `reuse` takes ExampleGen and Trainer from the cache."""
        details = {"config": CONFIG, "config_path": "configs/runs/tiny.yaml", "started_at": "2026-01-02T03:04:05Z"}
        self.context(
            "pipeline_run", run, **details, code_version=f"commit-of-{run}", code_dirty="false", lock_sha256="f" * 64
        )
        if reuse:
            made = dict(reuse)
            self.execution(run, "ExampleGen", {}, {"examples": made["examples"]}, CACHED)
            self.execution(run, "Trainer", {"examples": made["examples"]}, {"model": made["model"]}, CACHED)
        else:
            made = {}
            examples = self.artifact(
                "Examples", f"ExampleGen/{run}", data_path="data/sample.jsonl", data_sha256="a" * 64, rows_read=100,
                rows_kept=97, rows_quarantined=3, rows_by_split=json.dumps({"train": 80, "eval": 17}),
            )  # fmt: skip
            (made["examples"],) = self.execution(run, "ExampleGen", {}, {"examples": examples})
            model = self.artifact(
                "Model", f"Trainer/{run}", method="lora", preset="tiny", trainable_parameters=64, seed=7,
                eval_loss_before=3.5, eval_loss_after=2.25,
            )  # fmt: skip
            self.execution(run, "Trainer", {"examples": made["examples"]}, {}, FAILED)
            (made["model"],) = self.execution(run, "Trainer", {"examples": made["examples"]}, {"model": model})
        inputs = {"examples": made["examples"], "model": made["model"]}
        inputs |= {"baseline_model": baseline} if baseline else {}
        verdict = "lower" if blessed else "Not blessed, for lack of evidence: perplexity"
        made["evaluation"], made["blessing"] = self.execution(
            run,
            "Evaluator",
            inputs,
            {
                "evaluation": self.artifact(
                    "ModelEvaluation", f"Evaluator/{run}", metrics=json.dumps(METRICS), verdict=verdict
                ),
                "blessing": self.artifact(
                    "ModelBlessing", f"blessing/{run}", blessed=blessed, reason="all thresholds hold"
                ),
            },
        )
        properties: dict[str, Any] = {"pushed": 0}
        if pushed:
            properties = {"pushed": 1, "pushed_destination": f"{self.root}/serving/{run}", "pushed_version": run}
        (made["pushed"],) = self.execution(
            run,
            "Pusher",
            {"model": made["model"], "model_blessing": made["blessing"]},
            {"pushed_model": self.artifact("PushedModel", f"Pusher/{run}", **properties)},
        )
        return made


def set_properties(node: Any, properties: dict[str, Any]) -> None:
    for key, value in properties.items():
        kind = {int: "int_value", float: "double_value", str: "string_value"}[type(value)]
        setattr(node.custom_properties[key], kind, value)


def show(trace: graph.Trace) -> str:
    console = Console(width=120)
    with console.capture() as capture:
        console.print(trace_view.render(trace))
    return capture.get()


@pytest.fixture
def writer(tmp_path: Path) -> StoreWriter:
    return StoreWriter(tmp_path / "metadata.sqlite", root=str(tmp_path / "runs"))


@pytest.fixture
def reader(writer: StoreWriter, tmp_path: Path) -> MetadataStore:
    return lineage_store.open_store(connect(tmp_path / "metadata.sqlite"))


def test_latest_push_is_traced_to_the_data_file(writer: StoreWriter, reader: MetadataStore):
    writer.record_run("run-1")
    trace = lineage.trace(reader)
    assert trace.pushed is not None
    assert trace.pushed.properties["pushed_version"] == "run-1"
    assert trace.artifact.properties["method"] == "lora"
    assert [(step.node, step.reused) for step in trace.steps] == [
        ("Pusher", False), ("Evaluator", False), ("Trainer", False), ("ExampleGen", False),
    ]  # fmt: skip
    assert trace.steps[2].component == "components.trainer.component.Trainer"
    assert trace.data == (
        graph.DataFile(
            path="data/sample.jsonl", sha256="a" * 64, rows_read=100, rows_kept=97, rows_quarantined=3,
            rows_by_split={"train": 80, "eval": 17},
        ),
    )  # fmt: skip
    assert trace.run == graph.Run(
        id="run-1", pipeline_name=PIPELINE, started_at="2026-01-02T03:04:05Z", config_path="configs/runs/tiny.yaml",
        config=CONFIG, code_version="commit-of-run-1", code_dirty=False, lock_sha256="f" * 64,
    )  # fmt: skip
    assert trace.evaluation == graph.Evaluation(
        blessed=True, verdict="lower", reason="all thresholds hold",
        metrics={"preset": METRICS["preset"], "candidate": METRICS["candidate"]},
    )  # fmt: skip


def test_cached_steps_name_the_run_that_really_ran_them(writer: StoreWriter, reader: MetadataStore):
    first = writer.record_run("run-1")
    writer.record_run("run-2", reuse=first)
    trace = lineage.trace(reader)
    assert [(step.node, step.run_id, step.reused) for step in trace.steps] == [
        ("Pusher", "run-2", False),
        ("Evaluator", "run-2", False),
        ("Trainer", "run-1", True),
        ("ExampleGen", "run-1", True),
    ]
    assert [run.code_version for run in trace.runs] == ["commit-of-run-2", "commit-of-run-1"]
    assert show(trace).count("reused from run run-1") == 2


def test_history_behind_the_baseline_stays_out(writer: StoreWriter, reader: MetadataStore):
    first = writer.record_run("run-1")
    second = writer.record_run("run-2", baseline=first["model"])
    writer.record_run("run-3", baseline=second["model"])
    trace = lineage.trace(reader)
    assert {step.run_id for step in trace.steps} == {"run-3"}
    older = lineage.trace(reader, path=second["pushed"].uri)
    assert {step.run_id for step in older.steps} == {"run-2"}, "run-3 only used it as its baseline"


def test_a_cached_model_may_be_its_own_baseline(writer: StoreWriter, reader: MetadataStore):
    first = writer.record_run("run-1")
    writer.record_run("run-2", reuse=first, baseline=first["model"])
    trace = lineage.trace(reader)
    assert trace.run.id == "run-2"
    assert trace.evaluation is not None and trace.evaluation.blessed
    assert [step.node for step in trace.steps] == ["Pusher", "Evaluator", "Trainer", "ExampleGen"]
    told = lineage.trace(reader, path=f"{writer.root}/serving/run-1")
    assert {step.run_id for step in told.steps} == {"run-1"}, "the verdict on the push of run-1 is that of run-1"


def test_a_model_that_was_held_back_is_not_the_latest_push(writer: StoreWriter, reader: MetadataStore):
    writer.record_run("run-1")
    held_back = writer.record_run("run-2", blessed=0, pushed=False)
    assert lineage.trace(reader).run.id == "run-1"
    trace = lineage.trace(reader, path=held_back["model"].uri)
    assert trace.pushed is None
    assert trace.evaluation is not None and trace.evaluation.blessed is False
    assert trace.run.id == "run-2"
    assert "not pushed" in show(trace) and "not blessed, for lack of evidence: perplexity" in " ".join(
        show(trace).split()
    )


def test_a_benchmark_of_a_pushed_model_leaves_its_history_as_it_is(writer: StoreWriter, reader: MetadataStore):
    made = writer.record_run("run-1")

    def tell():
        return json.loads(json.dumps(dataclasses.asdict(lineage.trace(reader, path=f"{writer.root}/serving/run-1"))))

    before = tell()
    # As the pushed folder, and as the trained model itself.
    (imported,) = writer.execution("b", "Model", {}, {"result": writer.artifact("Model", "serving/run-1")})
    for model in (imported, made["model"]):
        result = writer.artifact("ModelEvaluation", "Benchmark/1", metrics=json.dumps({"overall": {"acc": 0.5}}))
        writer.execution("b", "Benchmark", {"model": model}, {"evaluation": result})
    assert tell() == before


@pytest.mark.parametrize("inside", ["", "/", "/assets/vocab.json"])
@pytest.mark.parametrize("place", ["serving", "Pusher", "Trainer"])
def test_a_path_finds_its_own_run(writer: StoreWriter, reader: MetadataStore, place: str, inside: str):
    for run in ("run-1", "run-2", "run-3"):
        writer.record_run(run)
    trace = lineage.trace(reader, path=f"{writer.root}/{place}/run-2{inside}")
    assert trace.run.id == "run-2"
    assert trace.pushed is not None and trace.pushed.properties["pushed_version"] == "run-2"


def test_relative_paths_and_links_are_the_same_path(writer: StoreWriter, reader: MetadataStore, tmp_path, monkeypatch):
    writer.record_run("run-1")
    (tmp_path / "runs/serving/run-1").mkdir(parents=True)
    (tmp_path / "current").symlink_to(tmp_path / "runs/serving/run-1")
    monkeypatch.chdir(tmp_path)
    assert lineage.trace(reader, path="runs/serving/run-1").run.id == "run-1"
    assert lineage.trace(reader, path="current").run.id == "run-1"


def test_a_store_of_relative_paths_is_searched_too(tmp_path: Path, monkeypatch):
    writer = StoreWriter(tmp_path / "metadata.sqlite", root="runs")
    writer.record_run("run-1")
    monkeypatch.chdir(tmp_path)
    reader = lineage_store.open_store(connect(tmp_path / "metadata.sqlite"))
    assert lineage.trace(reader, path=f"{tmp_path}/runs/serving/run-1").run.id == "run-1"


def test_paths_in_object_storage(tmp_path: Path):
    writer = StoreWriter(tmp_path / "metadata.sqlite", root="gs://bucket/runs")
    writer.record_run("run-1")
    reader = lineage_store.open_store(connect(tmp_path / "metadata.sqlite"))
    assert lineage.trace(reader, path="gs://bucket/runs/serving/run-1/model.bin").run.id == "run-1"


def test_pipelines_are_told_apart(writer: StoreWriter, reader: MetadataStore):
    writer.record_run("run-1")
    assert lineage.trace(reader, pipeline_name=PIPELINE).run.id == "run-1"
    with pytest.raises(UserError, match=rf"'other' was pushed. Pipelines with one: {PIPELINE}"):
        lineage.trace(reader, pipeline_name="other")


def test_json_holds_the_whole_chain(writer: StoreWriter, reader: MetadataStore):
    writer.record_run("run-1")
    told = json.loads(json.dumps(dataclasses.asdict(lineage.trace(reader))))
    assert told["runs"][0]["config"] == CONFIG
    assert told["data"][0]["sha256"] == "a" * 64
    assert told["evaluation"]["metrics"]["candidate"]["overall"]["perplexity"] == 11.25


def test_text_shows_what_a_reader_asks_for(writer: StoreWriter, reader: MetadataStore):
    writer.record_run("run-1")
    shown = show(lineage.trace(reader))
    for fact in ("a" * 64, "data/sample.jsonl", "configs/runs/tiny.yaml", "commit-of-ru", "lora", "seed 7", "blessed"):
        assert fact in shown
    order = [
        shown.index(node) for node in ("Pushed model", "← Pusher", "← Evaluator", "← Trainer", "← ExampleGen", "← Data")
    ]
    assert order == sorted(order)
    assert [line.split() for line in shown.splitlines() if "perplexity" in line] == [
        ["perplexity", "30.5000", "11.2500"]
    ]


def test_nothing_pushed_says_what_to_ask_instead(writer: StoreWriter, reader: MetadataStore):
    with pytest.raises(UserError, match="none was trained"):
        lineage.trace(reader)
    writer.record_run("run-1", blessed=0, pushed=False)
    with pytest.raises(UserError, match=r"newest is .*/Trainer/run-1"):
        lineage.trace(reader)


def test_unknown_path_names_the_known_ones(writer: StoreWriter, reader: MetadataStore):
    writer.record_run("run-1")
    with pytest.raises(UserError, match=r"does not know /nowhere/model.*serving/run-1"):
        lineage.trace(reader, path="/nowhere/model")
    with pytest.raises(UserError, match="belongs to an artifact of type Examples"):
        lineage.trace(reader, path=f"{writer.root}/ExampleGen/run-1/Split-train")
    with pytest.raises(UserError, match='does not know it\'s "quoted"'):
        lineage.trace(reader, path='it\'s "quoted" \\')


def test_missing_store_is_not_created(tmp_path: Path):
    with pytest.raises(UserError, match=r"does not exist.*make run"):
        lineage_store.open_store(connect(tmp_path / "metadata.sqlite"))
    assert not (tmp_path / "metadata.sqlite").exists()


@pytest.mark.parametrize("content", [b"", b"not a database " * 100])
def test_another_kind_of_file_is_refused_unchanged(tmp_path: Path, content: bytes):
    path = tmp_path / "metadata.sqlite"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"Cannot read sqlite at .*metadata.sqlite"):
        lineage_store.open_store(connect(path))
    assert path.read_bytes() == content


def test_unreachable_database_server_is_named():
    config = mlmd.ConnectionConfig()
    config.mysql.host, config.mysql.port, config.mysql.database = "127.0.0.1", 1, "lineage"
    with pytest.raises(UserError, match=r"mysql at 127.0.0.1:1"):
        lineage_store.open_store(config)


def test_import_stays_light():
    code = "import sys, pipeline.lineage.trace_view; print([m for m in ('tensorflow', 'tfx', 'apache_beam', 'keras') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_properties_stand_in_one_order():
    """A protocol buffer's own order differs from process to process, and an answer would with it."""
    artifact = mlmd.Artifact()
    names = [f"name_{i:02}" for i in range(30)]
    for name in reversed(names):
        artifact.custom_properties[name].int_value = 1
    assert list(graph.get_properties(artifact)) == names
