"""What `run` does before any node: whether there is anything to do. Whole runs are in tests/e2e/."""

import json

import pytest
from ml_metadata.metadata_store import MetadataStore
from ml_metadata.proto.metadata_store_pb2 import Execution

from components.errors import UserError
from configs.runner_schema import LocalRunnerConfig
from pipeline import exit_codes, run_command
from pipeline.execution.child_process import ChildError
from pipeline.execution.node_runner import NodeFailedError
from pipeline.execution.run_record import write_run_record
from pipeline.execution.run_state import NodeState, find_run
from pipeline.local_runner import Part, RunResult
from pipeline.metadata_connection import make_connection_config
from pipeline.paths import Paths
from pipeline.repeats.inputs import make_record
from pipeline.validate import load_config

CONFIG = "configs/runs/tiny_gpt2_en_lora.yaml"
PIPELINE = "tiny-gpt2-en-lora"


@pytest.fixture
def runner(tmp_path):
    return LocalRunnerConfig(kind="local", root=str(tmp_path))


@pytest.fixture
def store(runner, bless, record_run):
    """A store with a blessed run of `CONFIG`."""
    store = MetadataStore(make_connection_config(runner))
    record_run(store, "run-1", json.loads(make_record(load_config(CONFIG), CONFIG)["inputs"]), PIPELINE)
    bless(store, "run-1", 1)
    return store


@pytest.fixture
def run(runner, monkeypatch, capfd):
    """Calls `run`; where a node would start, it fails."""

    def fail(*_):
        raise NodeFailedError("ExampleGen") from ChildError("it was started")

    monkeypatch.setattr("pipeline.local_runner.run", fail)

    def call(*overrides, **options):
        exit_code = run_command.run_pipeline(load_config(CONFIG, overrides), CONFIG, runner, **options)
        return exit_code, capfd.readouterr().out

    return call


def test_nothing_new_ends_at_once_and_is_recorded(run, store):
    exit_code, output = run(skip_unchanged=True)
    assert exit_code == 0
    assert "Skipped: data, configuration, code, preset and packages are those of the blessed run run-1." in output
    newest = max(store.get_contexts_by_type("pipeline_run"), key=lambda context: context.id)
    assert newest.custom_properties["same_as_run"].string_value == "run-1"
    assert newest.name in output


@pytest.mark.parametrize(
    ("overrides", "options", "expected"),
    [
        ((), {"skip_unchanged": True, "force": True}, "Runs all the same (--force): data, configuration, code"),
        (
            ("train.seed=5",),
            {"skip_unchanged": True},
            "Needed: changed since the blessed run run-1: the configuration.",
        ),
        ((), {}, None),
        ((), {"force": True}, None),
    ],
)
def test_whatever_else_goes_on(run, store, overrides, options, expected):
    exit_code, output = run(*overrides, **options)
    assert (exit_code, "it was started" in output) == (exit_codes.FAILED, True)
    if expected:
        assert expected in output
    else:
        assert not [word for word in ("Skipped", "Needed", "Runs all the same") if word in output]
    assert find_run(store, PIPELINE, None).name == "run-1"


@pytest.mark.parametrize(
    ("error", "blessed", "told"),
    [
        (
            KeyError("metrics"),
            True,
            "The model is blessed. The summary of this run could not be made: KeyError: 'metrics'",
        ),
        (OSError(28, "No space left on device", "x"), False, "The model is not blessed. The summary"),
    ],
)
def test_a_summary_that_cannot_be_made_changes_no_verdict(run, monkeypatch, error, blessed, told, tmp_path):
    def fail(*_):
        raise error

    paths = Paths(root=tmp_path, name=PIPELINE)
    result = RunResult(run_id="run-1", paths=paths, nodes=dict.fromkeys(run_command._REPORTED))
    monkeypatch.setattr("pipeline.local_runner.run", lambda *_: result)
    monkeypatch.setattr("pipeline.summary.is_blessed", lambda _: blessed)
    monkeypatch.setattr(run_command, "_ask_for_samples", fail)
    exit_code, output = run()
    assert exit_code == (0 if blessed else exit_codes.NOT_BLESSED)
    assert told in output and f"Traceback: {paths.log('run-1')}" in output


@pytest.mark.parametrize("state", [Execution.COMPLETE, Execution.CACHED, Execution.FAILED, None])
def test_a_run_that_has_ended_is_told_to_have_nothing_left(run, store, monkeypatch, state):
    write_run_record(store, "run-2", make_record(load_config(CONFIG), CONFIG), run_command._REPORTED)
    found = state and NodeState(node_id="x", execution=Execution(last_known_state=state), outputs={})
    monkeypatch.setattr(run_command, "read_node", lambda *_: found)
    _, output = run(part=Part(resume=""))
    is_told = "run-2 has ended: nothing is left of it to do." in output
    assert is_told is (state in (Execution.COMPLETE, Execution.CACHED))
    # A part of a pipeline that has ended goes on with the rest.
    write_run_record(store, "run-3", make_record(load_config(CONFIG), CONFIG), run_command._REPORTED[:2])
    assert "has ended" not in run(part=Part(resume=""))[1]


def test_what_could_not_be_begun_is_not_gone_on_with(run, monkeypatch):
    def fail(*_):
        raise UserError("no such preset")

    monkeypatch.setattr(run_command, "look_up_presets", fail)
    assert "--resume" not in run()[1]


def test_what_was_skipped_is_no_run_to_go_on_with(run, store):
    run(skip_unchanged=True)
    assert find_run(store, PIPELINE, None).name == "run-1"
    skipped = max(store.get_contexts_by_type("pipeline_run"), key=lambda context: context.id).name
    with pytest.raises(UserError, match=f"the run {skipped} was skipped: there is nothing to go on with"):
        find_run(store, PIPELINE, skipped)


def test_a_part_of_a_pipeline_is_no_reason_to_skip_a_whole_run(run, store, monkeypatch):
    """It has the inputs of earlier runs, whatever they are today."""
    records = []
    monkeypatch.setattr("pipeline.local_runner.run", lambda config, record, *_: records.append(record) or 1 / 0)
    for part in (Part(from_nodes=("Evaluator",)), Part(to_nodes=("Trainer",)), Part()):
        with pytest.raises(ZeroDivisionError):
            run(part=part)
    assert ["inputs" in record for record in records] == [False, False, True]


@pytest.mark.parametrize(
    ("part", "words"), [("schema", "the schema of the data"), ("preset", "the preset"), ("lock", "the packages")]
)
def test_a_run_goes_on_with_what_it_began_with_alone(run, store, record_run, part, words):
    record = make_record(load_config(CONFIG), CONFIG)
    inputs = json.loads(record["inputs"])
    write_run_record(store, "run-2", record | {"inputs": json.dumps(inputs | {part: "other"})})
    exit_code, output = run(part=Part(resume=""))
    assert exit_code == exit_codes.FAILED
    assert f"a run goes on only with what it was started with. Other in run-2: {words}. Start a new run" in " ".join(
        output.split()
    )
    assert "ExampleGen failed" not in output
    write_run_record(
        store, "run-2", record | {"inputs": json.dumps(inputs | {"data": "other"})}
    )  # ExampleGen sees to that
    assert "ExampleGen failed" in run(part=Part(resume=""))[1]


def test_a_run_whose_inputs_are_not_recorded_goes_on_and_is_no_reason_to_skip_another(run, store, monkeypatch):
    record = make_record(load_config(CONFIG), CONFIG)
    write_run_record(store, "run-2", {name: value for name, value in record.items() if name != "inputs"})
    records = []
    monkeypatch.setattr("pipeline.local_runner.run", lambda config, record, *_: records.append(record) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(part=Part(resume="run-2"))
    assert "inputs" not in records[0]


def test_a_run_whose_record_is_damaged_does_not_go_on(run, store):
    record = make_record(load_config(CONFIG), CONFIG)
    write_run_record(store, "run-2", {name: value for name, value in record.items() if name != "config"})
    with pytest.raises(UserError, match="The record of run-2 does not: it is damaged"):
        run(part=Part(resume="run-2"))


@pytest.mark.parametrize(
    ("name", "text"), [("inputs", "{"), ("inputs", "[]"), ("config", "["), ("config", "a: &a {b: *a}")]
)
def test_a_run_of_which_a_record_cannot_be_read_does_not_go_on(run, store, name, text):
    record = make_record(load_config(CONFIG), CONFIG)
    write_run_record(store, "run-2", record | {name: text})
    try:
        exit_code, output = run(part=Part(resume="run-2"))
    except UserError as error:
        exit_code, output = exit_codes.FAILED, str(error)
    assert exit_code == exit_codes.FAILED
    assert "is damaged. Start a new run" in " ".join(output.split())
