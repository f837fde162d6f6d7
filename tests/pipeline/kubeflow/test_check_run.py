"""The first container of a run on Kubeflow Pipelines, and what its answer does to the others."""

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from ml_metadata.metadata_store import MetadataStore
from rich.console import Console

from configs.runner_schema import KubeflowRunnerConfig, SqliteSection
from pipeline.cli import main
from pipeline.metadata_connection import make_connection
from pipeline.specs.runner import run_spec
from pipeline.validate import load_config

CONFIG = "configs/runs/tiny_gpt2_en_lora.yaml"
PIPELINE = "tiny-gpt2-en-lora"
METADATA = json.dumps({"kind": "sqlite"})
REASON = "data, configuration, code, preset and packages are those of the blessed run"


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_text('{"instruction": "a", "output": "b"}\n')
    return path


@pytest.fixture
def store(tmp_path):
    return MetadataStore(make_connection(SqliteSection(kind="sqlite"), str(tmp_path)))


@pytest.fixture
def check(tmp_path, data):
    """Calls the command as the container does; returns its last line and its answer."""
    config = load_config(CONFIG).model_dump(mode="json")
    settings = json.dumps({"config": config, "config_path": CONFIG, "beam_args": [], "nodes": ["ExampleGen"]})

    def call(run_id, *parameters, force="false"):
        needed = tmp_path / "outputs" / run_id / "needed"
        arguments = ["--settings", settings, "--run-id", run_id, "--pipeline-root", str(tmp_path)]
        arguments += ["--metadata", METADATA, "--needed", str(needed), "--force", force]
        for key, value in (("data.path", str(data)), *parameters):
            arguments += ["--parameter", key, value]
        result = CliRunner().invoke(main, ["check-run", *arguments])
        assert result.exit_code == 0, result.output
        return result.output.splitlines()[-1], needed.read_text()

    return call


def read(store, run_id):
    properties = store.get_context_by_type_and_name("pipeline_run", run_id).custom_properties
    return {name: value.string_value for name, value in properties.items()}


def test_a_run_is_recorded_once_and_by_its_inputs_found_again(check, store, bless, data):
    assert check("run-1") == ("Needed: no run of this pipeline was blessed and pushed before.", "true")
    recorded = read(store, "run-1")
    assert (recorded["runner"], recorded["config_path"]) == ("kubeflow", CONFIG)
    assert str(data) in recorded["config"]
    assert json.loads(recorded["nodes"]) == ["ExampleGen"]
    assert not {"process", "hardware", "skipped"} & set(recorded)
    # It ran, and was not blessed.
    bless(store, "run-1", 0)
    assert check("run-2") == ("Needed: no run of this pipeline was blessed and pushed before.", "true")
    bless(store, "run-2", 1)
    assert check("run-3") == (f"Skipped: {REASON} run-2.", "false")
    skipped = read(store, "run-3")
    assert (skipped["skipped"], skipped["same_as_run"], skipped["skip_reason"]) == ("true", "run-2", f"{REASON} run-2")
    assert skipped["inputs"] == recorded["inputs"]
    assert "nodes" not in skipped


def test_force_runs_though_nothing_has_changed(check, store, bless):
    check("run-1")
    bless(store, "run-1", 1)
    assert check("run-2", force="true") == (f"Runs all the same (--force): {REASON} run-1.", "true")
    assert "skipped" not in read(store, "run-2")
    assert check("run-3")[1] == "false"


def test_data_that_grew_and_another_parameter_are_named(check, store, bless, data):
    check("run-1")
    bless(store, "run-1", 1)
    changed = "Needed: changed since the blessed run run-1:"
    assert check("run-2", ("train.learning_rate", "0.5")) == (f"{changed} the configuration.", "true")
    with data.open("a") as file:
        file.write('{"instruction": "c", "output": "d"}\n')
    assert check("run-3") == (f"{changed} the data.", "true")


def test_what_is_wrong_is_told_and_nothing_answered(check, tmp_path):
    arguments = ["--settings", "{", "--run-id", "x", "--pipeline-root", str(tmp_path), "--metadata", METADATA]
    result = CliRunner().invoke(main, ["check-run", *arguments, "--needed", str(tmp_path / "n"), "--force", "false"])
    assert (result.exit_code, "--settings must be JSON" in result.output) == (1, True)
    result = CliRunner().invoke(main, ["check-run", *arguments, "--needed", str(tmp_path / "n"), "--force", "perhaps"])
    assert (result.exit_code, "--force" in result.output) == (2, True)
    assert not (tmp_path / "n").exists()


@pytest.fixture
def compiled(monkeypatch):
    """The real specification, but for a pipeline of two nodes, which only say that they ran."""
    from pipeline.kubeflow import compiler

    monkeypatch.setattr(compiler, "list_upstream", lambda config: {"ExampleGen": [], "Tokenizer": ["ExampleGen"]})
    runner = KubeflowRunnerConfig(kind="kubeflow", pipeline_root="gs://bucket/x", image="name:1")
    found = compiler.compile_for_kubeflow(load_config(CONFIG), CONFIG, runner)
    spec = next(iter(yaml.load_all(found["text"], yaml.CSafeLoader)))
    for executor in spec["deploymentSpec"]["executors"].values():
        if "run-node" in executor["container"]["command"]:
            executor["container"] |= {"command": ["echo", "ran"], "args": []}
    return spec, found["parameters"]


def test_a_repeated_run_skips_every_node(compiled, store, bless, data, tmp_path):
    spec, parameters = compiled
    assert parameters["force"] is False

    def run(run_id, **given):
        values = {**parameters, "metadata": METADATA, "pipeline_root": str(tmp_path), "data_path": str(data), **given}
        with (tmp_path / "console").open("w") as console:
            skipped = run_spec(spec, values, tmp_path, run_id, 2, Console(file=console)).skipped
        log = tmp_path / "runs" / run_id / "runcheck" / "executor.log"
        return sorted(skipped), log.read_text().splitlines()[-1]

    nodes = ["condition-1/examplegen", "condition-1/tokenizer"]
    assert run("run-1") == ([], "Needed: no run of this pipeline was blessed and pushed before.")
    assert [Path(tmp_path, "runs", "run-1", node, "executor.log").read_text() for node in nodes] == ["ran\n"] * 2
    bless(store, "run-1", 1)
    assert run("run-2") == (nodes, f"Skipped: {REASON} run-1.")
    assert run("run-3", force=True) == ([], f"Runs all the same (--force): {REASON} run-1.")
    # As `--param` gives it.
    assert run("run-4", force="true")[0] == []
    data.write_text(data.read_text() * 2)
    assert run("run-5") == ([], "Needed: changed since the blessed run run-1: the data.")
