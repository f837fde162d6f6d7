"""Runs that are killed, gone on with, and run in part: real processes, as in test_local_run.py."""

import os
import re
import signal
import time
from pathlib import Path

import pytest
from ml_metadata.proto import metadata_store_pb2

DONE_BEFORE = {
    "ExampleGen",
    "StatisticsGen",
    "SchemaGen",
    "ExampleValidator",
    "Tokenizer",
    "TokenizedSchema",
    "Transform",
    "Receipt",
}
DEADLINE_SECONDS = 600


def find_process(project, node_id):
    """Waits until a node of the newest run has started; returns its process id."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        for log in sorted((project.folder / "runs" / "logs" / "e2e").glob(f"*/{node_id}.log"))[-1:]:
            if found := re.findall(r"launch_node in process (\d+)", log.read_text(errors="replace")):
                return int(found[-1])
        assert time.monotonic() < deadline
        time.sleep(0.1)


def wait_for_checkpoint(project, process):
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not list((project.folder / "runs" / "checkpoints" / "e2e").rglob("*.npz")):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.1)


def get_failure(project, run_id):
    store = project.open_store()
    context = store.get_context_by_type_and_name("pipeline_run", run_id)
    (failed,) = (
        e
        for e in store.get_executions_by_context(context.id)
        if e.last_known_state == metadata_store_pb2.Execution.FAILED
    )
    return failed.custom_properties["failure"].string_value


OPTIONS = ("--set", "train.epochs=3", "--set", "train.checkpoint_every_steps=5")


@pytest.fixture(scope="module")
def node_killed(project):
    """The Trainer's process is killed; the runner's is not."""
    process = project.start(*OPTIONS)
    wait_for_checkpoint(project, process)
    os.kill(find_process(project, "Trainer"), signal.SIGKILL)
    output, _ = process.communicate()
    return project.describe(process.returncode, output)


@pytest.fixture(scope="module")
def resumed(project, node_killed):
    return project.run(*OPTIONS, "--resume")


@pytest.fixture(scope="module")
def in_part(project, resumed):
    return project.run(*OPTIONS, "--from", "Evaluator", "--to", "Evaluator")


def get_run_id(run):
    return re.findall(r"run (\d{8}-\d{6}-\d{6})", run.output)[0]


def test_a_killed_node_is_failed_and_says_why(project, node_killed):
    assert node_killed.exit_code == 1
    assert node_killed.failed == {"Trainer"}
    assert node_killed.executed >= DONE_BEFORE
    output = " ".join(node_killed.output.split())
    assert "Trainer failed: its process was ended by SIGKILL" in output
    assert "max_parallel_nodes" in output
    assert "Trainer.log" in output
    assert "SIGKILL" in get_failure(project, get_run_id(node_killed))


def test_resume_goes_on_with_the_same_run(node_killed, resumed):
    assert resumed.exit_code in (0, 3), resumed.output
    assert get_run_id(resumed) == get_run_id(node_killed)
    assert resumed.failed == set()
    assert resumed.executed >= {*DONE_BEFORE, "Trainer", "Evaluator", "Pusher"}
    # It went on with the training too.
    assert resumed.properties["Trainer", "Model"]["resumed_from_step"] >= 5


def test_each_node_has_a_log_of_its_own(project, resumed):
    folder = project.folder / "runs" / "logs" / "e2e" / get_run_id(resumed)
    logs = {path.stem for path in folder.glob("*.log")}
    assert logs == {*resumed.executed, *resumed.cached, "run", "summary"}
    assert (folder / "summary.txt").is_file()


def test_another_configuration_cannot_resume(project, resumed):
    result = project.command("run", "run.yaml", *OPTIONS, "--set", "train.learning_rate=0.002", "--resume")
    assert result.returncode == 1
    assert "train.learning_rate (0.005, now 0.002)" in " ".join(result.stderr.split())


def test_a_part_runs_on_what_is_there(resumed, in_part):
    assert in_part.exit_code == 0, in_part.output
    assert "Ran Evaluator: a part of the pipeline" in in_part.output
    lines = [line.split()[1] for line in in_part.output.splitlines() if re.match(r"[✓=] ", line)]
    assert lines == ["Evaluator"]


def test_a_part_that_there_is_not(project, resumed):
    result = project.command("run", "run.yaml", *OPTIONS, "--from", "Evaluatr")
    assert result.returncode == 1
    assert "Did you mean `Evaluator`?" in result.stdout + result.stderr
    both = project.command("run", "run.yaml", "--from", "Evaluator", "--resume")
    assert both.returncode == 2


def test_what_a_killed_run_leaves_is_closed_by_the_next(project, in_part):
    options = (*OPTIONS, "--set", "train.learning_rate=0.003")
    process = project.start(*options)
    wait_for_checkpoint(project, process)
    child = find_process(project, "Trainer")
    process.send_signal(signal.SIGKILL)
    output, _ = process.communicate()
    (killed,) = re.findall(r"run (\d{8}-\d{6}-\d{6})", output)[:1]
    deadline = time.monotonic() + 60
    while Path(f"/proc/{child}").exists():
        assert time.monotonic() < deadline, "the Trainer lives on"
        time.sleep(0.1)
    next_run = project.run("--to", "ExampleGen")
    assert f"Run {killed} was killed" in " ".join(next_run.output.split())
    assert "ended without a word" in get_failure(project, killed)
