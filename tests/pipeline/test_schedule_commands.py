"""`submit`, `schedule` and `schedules` as they are typed, against local servers of both clusters."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from components.errors import UserError
from configs.runner_schema import VertexRunnerConfig
from pipeline import schedule_commands
from pipeline.cli import main
from pipeline.cluster_commands import compile_run
from pipeline.validate import load_config

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
    parameters = run["runtime_config"]["parameters"]
    assert (parameters["train_learning_rate"], parameters["force"]) == ("0.002", False)
    assert f"Submitted {PIPELINE}: run {run['run_id']}" in result.output


def test_one_run_on_vertex_with_a_value_of_its_own(call, vertex_file, vertex):
    result = call("submit", CONFIG, "--runner", vertex_file, "--image", IMAGE, "--set", "train.learning_rate=0.002")
    assert result.exit_code == 0, result.output
    (request,) = vertex.list_requests("POST", "/pipelineJobs")
    assert request.body["runtimeConfig"]["parameterValues"]["train_learning_rate"] == "0.002"
    assert {True} < list_caching(request.body["pipelineSpec"])
    assert (
        f"Submitted {PIPELINE}: run {request.query['pipelineJobId']}\nhttps://console.cloud.google.com/"
        in result.output
    )


def list_caching(spec):
    """What the tasks say of Vertex AI's cache; none at all is a resolver's, which is never cached."""
    return {t.get("cachingOptions", {}).get("enableCache") for t in spec["root"]["dag"]["tasks"].values()}


def test_a_forced_run_on_kubeflow_is_told_so(call, kubeflow_file, kubeflow_server):
    options = ("--runner", kubeflow_file, "--image", IMAGE, "--force")
    assert call("submit", CONFIG, *options).exit_code == 0
    (run,) = kubeflow_server.runs.values()
    assert run["runtime_config"]["parameters"]["force"] is True
    schedule = ("schedule", CONFIG, *options, "--cron", "0 3 * * 1")
    assert "Made" in call(*schedule).output
    assert "Is there already" in call(*schedule).output
    (held,) = kubeflow_server.recurring_runs.values()
    assert held["runtime_config"]["parameters"]["force"] is True
    # One that is not forced is another schedule.
    assert "Made" in call(*(word for word in schedule if word != "--force")).output
    assert len(kubeflow_server.versions) == 1


def test_a_forced_run_on_vertex_uses_no_cache(call, vertex_file, vertex):
    options = ("--runner", vertex_file, "--image", IMAGE, "--force")
    assert call("submit", CONFIG, *options).exit_code == 0
    (request,) = vertex.list_requests("POST", "/pipelineJobs")
    assert list_caching(request.body["pipelineSpec"]) == {False}
    schedule = ("schedule", CONFIG, *options, "--cron", "0 3 * * 1")
    assert "Made" in call(*schedule).output
    assert "Is there already" in call(*schedule).output
    (request,) = vertex.list_requests("POST", "/schedules")
    assert list_caching(request.body["createPipelineJobRequest"]["pipelineJob"]["pipelineSpec"]) == {False}
    assert "Made" in call(*(word for word in schedule if word != "--force")).output


@pytest.mark.parametrize(
    ("changes", "arguments", "expected"),
    [
        ({"pipeline_root": "gs://B"}, ("--image", IMAGE), "runner.pipeline_root: must be gs://bucket/folder"),
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


def test_without_credentials_nothing_is_compiled(call, vertex_file, monkeypatch, compiled):
    before = len(compiled)
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS")
    result = call("submit", CONFIG, "--runner", vertex_file, "--image", IMAGE, "--set", "train.seed=77")
    assert result.exit_code == 1
    assert "gcloud auth application-default login" in result.output
    assert len(compiled) == before


@pytest.mark.parametrize(
    "command", [("submit", CONFIG), ("schedule", CONFIG, "--cron", "@weekly"), ("schedules", "list")]
)
def test_this_machine_is_no_cluster(call, command):
    result = call(*command)
    assert (result.exit_code, "Missing option '--runner'" in result.output) == (2, True)
    image = ("--image", IMAGE) if command[0] != "schedules" else ()
    result = call(*command, "--runner", "local", *image)
    assert (result.exit_code, "must be a cluster (kind kubeflow or vertex)" in result.output) == (2, True)


@pytest.mark.parametrize("cluster", ["kubeflow", "vertex"])
@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        ((), "runner.image"),
        (("--image", "registry/name"), "runner.image"),
        (("--image", "registry/name:latest"), "runner.image"),
        (("--image", IMAGE, "--cron", "0 0 30 2 *"), "--cron"),
        (("--image", IMAGE, "--timezone", "Europe/Berln"), "--timezone"),
        (("--image", IMAGE, "--set", f"data.path={__file__}", "--set", "data.format=jsonl"), "data.path"),
        (("--image", IMAGE, "--set", "data.path=/nowhere/x.jsonl"), "data.path"),
        (("--image", IMAGE, "--set", "data.path=gs://B/x.jsonl"), "data.path"),
        (("--image", IMAGE, "--set", "train.learning_rat=1"), "train.learning_rat"),
    ],
)
def test_a_bad_argument_reaches_no_cluster(call, cluster, arguments, key, request, compiled):
    runner = request.getfixturevalue(f"{cluster}_file")
    server = request.getfixturevalue("kubeflow_server" if cluster == "kubeflow" else "vertex")
    before = len(compiled)
    # The last of an option counts.
    result = call("schedule", CONFIG, "--runner", runner, "--cron", "@weekly", *arguments)
    assert result.exit_code == 2, result.output
    assert [line.split(":")[0].strip() for line in result.stderr.splitlines()[1:]] == [key]
    assert (server.requests, len(compiled)) == ([], before)


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        (("--timezone", "Europe/Berlin"), "--timezone: must be UTC"),
        (("--max-concurrency", "11"), "--max-concurrency: must be 1 to 10"),
    ],
)
def test_what_kubeflow_cannot_do_is_told_before_it_is_asked(call, kubeflow_file, kubeflow_server, arguments, key):
    result = call("schedule", CONFIG, "--runner", kubeflow_file, "--image", IMAGE, "--cron", "@weekly", *arguments)
    assert (result.exit_code, key in result.output) == (2, True)
    assert kubeflow_server.requests == []


def test_problems_of_all_kinds_are_told_together(call, vertex_file, monkeypatch):
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS")
    arguments = ("--cron", "* * *", "--image", "x", "--set", "data.path=gs://B/x.jsonl")
    result = call("schedule", CONFIG, "--runner", vertex_file, *arguments)
    assert result.exit_code == 2
    keys = [line.split(":")[0].strip() for line in result.stderr.splitlines()[1:]]
    assert keys == ["--cron", "data.path", "runner.image", "your credentials"]


def test_a_cluster_that_is_not_there_is_told_before_half_a_minute_of_compiling(call, kubeflow_file, compiled):
    path = Path(kubeflow_file)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"host": "http://127.0.0.1:9"}))
    before = len(compiled)
    result = call("submit", CONFIG, "--runner", kubeflow_file, "--image", IMAGE, "--set", "train.seed=78")
    assert (result.exit_code, len(compiled)) == (1, before)
    assert "http://127.0.0.1:9 is not" in result.output


@pytest.mark.parametrize("cluster", ["kubeflow", "vertex"])
def test_macros_and_sundays_are_the_fields_that_they_mean(call, cluster, request):
    runner = request.getfixturevalue(f"{cluster}_file")
    schedule = ("schedule", CONFIG, "--runner", runner, "--image", IMAGE)
    assert "Made the schedule" in call(*schedule, "--cron", "@weekly").output
    for same in ("0 0 * * 0", "0 0 * * 7"):
        assert "Is there already" in call(*schedule, "--cron", same).output
    assert [row["cron"] for row in list_schedules(call, runner)] == ["0 0 * * 0"]


@pytest.mark.parametrize("cluster", ["kubeflow", "vertex"])
def test_options_arrive(call, cluster, request):
    runner = request.getfixturevalue(f"{cluster}_file")
    zone = "Europe/Berlin" if cluster == "vertex" else "UTC"
    options = ("--cron", "0 3 * * 1", "--timezone", zone, "--catch-up", "--max-concurrency", "3")
    made = call("schedule", CONFIG, "--runner", runner, "--image", IMAGE, *options)
    assert len(re.findall(rf"^  \d{{4}}-\d\d-\d\d 03:00 {zone}$", made.output, re.MULTILINE)) == 3
    (row,) = list_schedules(call, runner)
    assert (row["timezone"], row["catch_up"], row["max_concurrency"]) == (zone, True, 3)
    assert call("schedules", "list", "--runner", runner, "--pipeline", "another").output == "No schedules.\n"


@pytest.mark.parametrize("cluster", ["kubeflow", "vertex"])
def test_a_schedule_that_is_there_and_paused_stays_so_and_says_it(call, cluster, request):
    runner = request.getfixturevalue(f"{cluster}_file")
    schedule = ("schedule", CONFIG, "--runner", runner, "--image", IMAGE, "--cron", "0 3 * * 1")
    call(*schedule)
    (row,) = list_schedules(call, runner)
    assert call("schedules", "pause", row["id"], "--runner", runner).output == f"Paused {row['id']}.\n"
    again = call(*schedule)
    assert "(paused)" in again.output
    assert "It starts no runs until `schedules resume`" in again.output
    assert [r["state"] for r in list_schedules(call, runner)] == ["paused"]


@pytest.mark.parametrize("cluster", ["kubeflow", "vertex"])
@pytest.mark.parametrize("action", ["pause", "resume", "delete"])
def test_an_unknown_schedule_changes_nothing(call, cluster, action, request):
    runner = request.getfixturevalue(f"{cluster}_file")
    call("schedule", CONFIG, "--runner", runner, "--image", IMAGE, "--cron", "0 3 * * 1")
    before = list_schedules(call, runner)
    result = call("schedules", action, before[0]["name"][:-1], "--runner", runner)
    assert (result.exit_code, f"Did you mean `{before[0]['name']}`?" in result.output) == (1, True)
    assert list_schedules(call, runner) == before


def test_the_very_same_spec_from_whichever_folder(call, kubeflow_file, kubeflow_server, compiled, tmp_path):
    schedule = ("--runner", kubeflow_file, "--image", IMAGE, "--cron", "0 3 * * 1")
    outputs = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        folder.mkdir()
        copy = shutil.copy(CONFIG, folder)
        compiled.clear()
        outputs.append(call("schedule", str(copy), *schedule).output.partition(" the schedule ")[0])
    assert outputs == ["Made", "Is there already:"]
    assert len(kubeflow_server.versions) == 1


def test_what_went_wrong_while_compiling_can_be_read(tmp_path):
    runner = VertexRunnerConfig(kind="vertex", project="p", region="us-central1", pipeline_root="gs://b/x")
    log = tmp_path / "log"
    # Without an image, which is told before.
    with pytest.raises(UserError, match=f"could not be compiled: AssertionError.* Log: {re.escape(str(log))}"):
        compile_run(load_config(CONFIG), CONFIG, runner, log)
    assert "Traceback (most recent call last)" in log.read_text()


def test_as_it_is_typed(kubeflow_file, kubeflow_server):
    def type_in(*arguments):
        command = [sys.executable, "-m", "pipeline", "schedules", *arguments, "--runner", kubeflow_file]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    listed = type_in("list", "--json")
    assert (listed.returncode, json.loads(listed.stdout)) == (0, []), listed.stderr
    unknown = type_in("pause", "nowhere")
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert unknown.stderr.startswith("Error: must be the name or id of a schedule. Received: 'nowhere'.")
    assert type_in("list", "--cron").returncode == 2
    assert {method for method, _ in kubeflow_server.requests} == {"GET"}


@pytest.mark.parametrize("name", ["nightly [/b]", "[x] y", "[link=https://e.vil]z[/link]"])
def test_names_of_schedules_are_only_text(monkeypatch, capsys, name):
    """Everybody who may use the cluster can give one."""
    row = schedule_commands.ScheduleRow(
        id="1",
        name=name,
        pipeline=name,
        cron="0 0 * * *",
        timezone="UTC",
        state="ENABLED",
        catch_up=False,
        max_concurrency=1,
    )
    monkeypatch.setattr(schedule_commands, "_list", lambda *_: [row])
    schedule_commands.list_schedules(None, None, as_json=False)
    assert capsys.readouterr().out.count(name) == 2
    monkeypatch.setattr(schedule_commands.kubeflow_schedules, "pause_schedule", lambda *_: None)
    schedule_commands.change_schedule(None, "pause", name)
    assert capsys.readouterr().out == f"Paused {name}.\n"
