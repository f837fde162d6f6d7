"""`submit`, `schedule` and `schedules` as they are typed, against local servers of both clusters."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline import schedule_commands
from pipeline.cli import main
from pipeline.cluster_commands import compile_run

ROOT = Path(__file__).resolve().parents[2]
CONFIG = str(ROOT / "configs" / "runs" / "tiny_gpt2_en_lora.yaml")
PIPELINE = "tiny-gpt2-en-lora"
IMAGE = "registry.example/lm-fine-tuning:1.0"


@pytest.fixture(scope="module")
def compiled():
    """What was compiled already, by runner: half a minute each, and the same for every test that changes nothing."""
    return {}


@pytest.fixture
def call(compiled, monkeypatch, tmp_path):
    def compile_once(config, config_path, runner, log_path):
        key = (config.model_dump_json(), runner.model_dump_json(exclude={"host"}))
        if key not in compiled:
            compiled[key] = compile_run(config, config_path, runner, tmp_path / "compile.log")
        return compiled[key]

    monkeypatch.setattr(schedule_commands, "compile_run", compile_once)
    monkeypatch.chdir(ROOT)

    def run(*arguments):
        return CliRunner().invoke(main, list(arguments))

    return run


@pytest.fixture
def kubeflow_file(kubeflow_server, make_kubeflow_runner, tmp_path):
    path = tmp_path / "kubeflow.yaml"
    path.write_text(
        json.dumps({"kind": "kubeflow", "pipeline_root": "gs://my-bucket/runs", "host": kubeflow_server.host})
    )
    return str(path)


@pytest.fixture
def vertex_file(vertex, tmp_path):
    path = tmp_path / "vertex.yaml"
    content = {
        "kind": "vertex",
        "pipeline_root": "gs://my-bucket/runs",
        "project": "my-project",
        "region": "us-central1",
    }
    path.write_text(json.dumps(content))
    return str(path)


def list_schedules(call, runner):
    result = call("schedules", "list", "--runner", runner, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.mark.parametrize("cluster", ["kubeflow", "vertex"])
def test_a_schedule_is_made_once_listed_paused_resumed_and_deleted(call, cluster, request):
    runner = request.getfixturevalue(f"{cluster}_file")
    schedule = ("schedule", CONFIG, "--runner", runner, "--image", IMAGE, "--cron", "0 3 * * 1")
    made = call(*schedule)
    assert made.exit_code == 0, made.output
    assert f"Made the schedule {PIPELINE}-" in made.output
    assert len(re.findall(r"^  \d{4}-\d\d-\d\d 03:00 UTC$", made.output, re.MULTILINE)) == 3
    again = call(*schedule)
    assert "Is there already" in again.output
    (row,) = list_schedules(call, runner)
    assert (row["pipeline"], row["cron"], row["state"], row["catch_up"], row["max_concurrency"]) == (
        PIPELINE,
        "0 3 * * 1",
        "active",
        False,
        1,
    )
    assert row["name"] in call("schedules", "list", "--runner", runner).output.replace("\n", "")
    for action, state in (("pause", "paused"), ("resume", "active")):
        result = call("schedules", action, row["name"], "--runner", runner)
        assert result.exit_code == 0, result.output
        assert [r["state"] for r in list_schedules(call, runner)] == [state]
    other = call(*schedule[:-1], "0 4 * * 1")
    assert f"{row['name']} (0 3 * * 1, active) goes on beside it" in " ".join(other.output.split())
    replaced = call(*schedule[:-1], "0 5 * * 1", "--replace")
    assert f"Deleted {row['name']}" in replaced.output
    (left,) = list_schedules(call, runner)
    assert left["cron"] == "0 5 * * 1"
    assert call("schedules", "delete", left["name"], "--runner", runner).exit_code == 0
    assert list_schedules(call, runner) == []
    unknown = call("schedules", "pause", "nowhere", "--runner", runner)
    assert unknown.exit_code == 1
    assert "nowhere" in unknown.output


def test_one_run_on_kubeflow_with_a_value_of_its_own(call, kubeflow_file, kubeflow_server):
    result = call("submit", CONFIG, "--runner", kubeflow_file, "--image", IMAGE, "--set", "train.learning_rate=0.002")
    assert result.exit_code == 0, result.output
    (run,) = kubeflow_server.runs.values()
    assert run["runtime_config"]["parameters"]["train_learning_rate"] == "0.002"
    assert f"Submitted {PIPELINE}: run {run['run_id']}" in result.output


def test_one_run_on_vertex(call, vertex_file):
    result = call("submit", CONFIG, "--runner", vertex_file, "--image", IMAGE)
    assert result.exit_code == 0, result.output
    assert f"Submitted {PIPELINE}: run {PIPELINE}-" in result.output


@pytest.mark.parametrize(
    ("changes", "arguments", "expected"),
    [
        ({}, (), "runner.image: must name the container image"),
        ({}, ("--image", "registry/name"), "runner.image: must have a tag"),
        ({}, ("--image", "registry:5000/name"), "runner.image: must have a tag"),
        ({}, ("--image", "registry/name:latest"), "runner.image: must have a tag other than `latest`"),
        ({"pipeline_root": "gs://B"}, ("--image", IMAGE), "runner.pipeline_root: must be gs://bucket/folder"),
        ({}, ("--image", IMAGE, "--set", f"data.path={__file__}", "--set", "data.format=jsonl"), "data.path: must be"),
        (
            {
                "trainer": {
                    "machine_type": "g2-standard-12",
                    "accelerator_type": "NVIDIA_H100_80GB",
                    "accelerator_count": 1,
                }
            },
            ("--image", IMAGE),
            "runner.trainer.",
        ),
        (
            {"trainer": {"machine_type": "g2-standard-24", "accelerator_type": "NVIDIA_L4", "accelerator_count": 2}},
            ("--image", IMAGE, "--set", "train.strategy=one_device"),
            "train.strategy",
        ),
        ({"resources": {"Trainer": {"accelerator": {"type": "NVIDIA_L5"}}}}, ("--image", IMAGE), "resources.Trainer"),
        ({"beam": {"runner": "flink"}}, ("--image", IMAGE), "runner.beam"),
    ],
)
def test_everything_that_would_fail_is_said_before_anything_is_submitted(
    call, vertex_file, vertex, changes, arguments, expected
):
    path = Path(vertex_file)
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    before = len(vertex.requests)
    result = call("submit", CONFIG, "--runner", vertex_file, *arguments)
    assert result.exit_code == 2, result.output
    assert expected in result.output
    assert len(vertex.requests) == before


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--cron", "0 0 30 2 *"), "--cron"),
        (("--cron", "every monday"), "--cron"),
        (("--cron", "0 3 * * 1", "--timezone", "Europe/Berln"), "--timezone"),
    ],
)
def test_a_schedule_that_never_fires(call, vertex_file, arguments, expected):
    result = call("schedule", CONFIG, "--runner", vertex_file, "--image", IMAGE, *arguments)
    assert result.exit_code == 2
    assert expected in result.output


def test_without_credentials_nothing_is_compiled(call, vertex_file, monkeypatch, compiled):
    before = len(compiled)
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS")
    result = call("submit", CONFIG, "--runner", vertex_file, "--image", IMAGE, "--set", "train.seed=77")
    assert result.exit_code == 1
    assert "gcloud auth application-default login" in result.output
    assert len(compiled) == before


def test_this_machine_is_no_cluster(call):
    for command in (("submit", CONFIG), ("schedule", CONFIG, "--cron", "@weekly"), ("schedules", "list")):
        result = call(*command)
        assert result.exit_code == 1
        assert "--runner kubeflow" in result.output
