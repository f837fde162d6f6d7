"""Tests of the comparison of two runs: everything that differs is shown, and nothing that is equal."""

import json
import subprocess
from typing import Any

import pytest
from click.testing import CliRunner
from ml_metadata.proto import metadata_store_pb2 as mlmd
from rich.console import Console

from components.errors import UserError
from pipeline.cli import main
from pipeline.lineage import diff_view
from pipeline.lineage.diff import Diff, find_diff
from pipeline.lineage.flatten import flatten

CONFIG = "pipeline: {name: tiny}\ntrain: {learning_rate: 0.001, seed: 7}\nevaluation: {metrics: [{name: loss}]}\n"
RECORD = {"config": CONFIG, "code_version": "unknown", "lock_sha256": "1" * 64, "hardware": "a CPU x 2"}
METRICS = {"candidate": {"overall": {"loss": 1.5, "accuracy": 0.5}, "kind=a": {"loss": 2.0}}, "preset": {}}
MEASURED = {
    "metrics": json.dumps(METRICS),
    "intervals": json.dumps({"overall": {"loss": [1.4, 1.6], "accuracy": [0.4, 0.6]}}),
    "directions": json.dumps({"loss": False, "accuracy": True}),
    "checks": json.dumps([{"metric": "loss", "slice_name": "overall", "rule": "<= 2", "passed": True}]),
    "baseline": "preset",
}


def record_two(store, **changed: Any):
    """Two runs that are equal in everything but what is given of the second."""
    trained = {"tuned_hash": "same", "seed": 7, "steps": 100}
    store.record("run-1", record=RECORD, trained=trained, measured=MEASURED)
    same = {"record": RECORD, "trained": trained, "measured": MEASURED}
    store.record("run-2", **{key: same.get(key, {}) | changed[key] if key in same else changed[key] for key in changed} | {
        key: value for key, value in same.items() if key not in changed
    })  # fmt: skip
    return find_diff(store.reader)


def list_changes(diff: Diff) -> dict[str, dict[str, tuple[Any, Any]]]:
    return {s.title: {c.key: (c.before, c.after) for c in s.changes} for s in diff.sections}


def show(diff: Diff) -> str:
    console = Console(width=140)
    with console.capture() as capture:
        console.print(diff_view.render(diff))
    return capture.get()


def test_equal_runs_differ_in_nothing(small_store):
    diff = record_two(small_store)
    assert list_changes(diff) == {}
    assert diff.is_equal and "Nothing differs." in show(diff)
    assert (diff.before.run_id, diff.after.run_id) == ("run-1", "run-2")


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"record": {"config": CONFIG.replace("0.001", "0.01")}}, {"Configuration": {"train.learning_rate": (0.001, 0.01)}}),
        ({"record": {"config": CONFIG.replace(", seed: 7", "")}}, {"Configuration": {"train.seed": (7, None)}}),
        ({"record": {"lock_sha256": "2" * 64}}, {"Packages": {"lock_sha256": ("1" * 64, "2" * 64)}}),
        ({"record": {"hardware": "a GPU"}}, {"Environment": {"hardware": ("a CPU x 2", "a GPU")}}),
        ({"record": {"runner": "kubeflow"}}, {"Environment": {"runner": ("local", "kubeflow")}}),
        ({"record": {"code_version": "f" * 40}}, {}),
        ({"trained": {"steps": 90}}, {"Training": {"steps": (100, 90)}}),
        ({"trained": {"backend": "jax"}}, {"Environment": {"backend": (None, "jax")}}),
        ({"trained": {"base_hash": "other"}}, {"Preset": {"base_hash": ("data/base/tiny-base", "other")}}),
        ({"trained": {"started_from": "/a/folder/of/the/run"}}, {}),
        ({"blessed": False}, {"Verdict": {
            "blessed": ("yes", "no"), "verdict": ("Blessed: better.", "Not blessed: worse."), "pushed": ("yes", "no"),
        }}),
        ({"measured": {"baseline": "latest blessed model"}}, {"Verdict": {"baseline": ("preset", "latest blessed model")}}),
        ({"data": "/data/new.jsonl"}, {"Data": {
            "data_path": ("/data/rows.jsonl", "/data/new.jsonl"),
            "data_sha256": (b"/data/rows.jsonl".hex().ljust(64, "0"), b"/data/new.jsonl".hex().ljust(64, "0")),
        }}),
    ],
    ids=lambda value: next(iter(value), "nothing") if isinstance(value, dict) else None,
)  # fmt: skip
def test_one_difference_is_shown_alone(small_store, changed: dict[str, Any], expected: dict[str, Any]):
    assert list_changes(record_two(small_store, **changed)) == expected


def test_metrics_with_their_change_and_intervals(small_store):
    values = {"candidate": {"overall": {"loss": 1.0, "accuracy": 0.5}, "kind=a": {"loss": 2.5}}, "preset": {}}
    intervals = {"overall": {"loss": [0.9, 1.1], "accuracy": [0.4, 0.6]}}
    diff = record_two(small_store, measured={"metrics": json.dumps(values), "intervals": json.dumps(intervals)})
    (section,) = diff.sections
    assert (section.title, section.note) == ("Metrics", "of the candidates")
    assert [(c.key, c.before, c.after, c.difference, c.note) for c in section.changes] == [
        ("loss", 1.5, 1.0, -0.5, "better, intervals apart"),
        ("loss on kind=a", 2.0, 2.5, 0.5, "worse"),
    ]
    shown = show(diff)
    assert "accuracy" not in shown and "-0.5" in shown


@pytest.mark.parametrize(
    ("interval", "note"),
    [
        ([1.5, 1.7], "worse, intervals overlap"),
        ([1.6, 1.8], "worse, intervals overlap"),
        ([1.61, 1.8], "worse, intervals apart"),
        ([1.2, 1.4], "worse, intervals overlap"),
        ([1.2, 1.39], "worse, intervals apart"),
        ([1.0, 2.0], "worse, intervals overlap"),
        ([None, None], "worse"),
    ],
)
def test_intervals(small_store, interval: list[float], note: str):
    values = {"candidate": {"overall": {"loss": 1.55, "accuracy": 0.5}, "kind=a": {"loss": 2.0}}, "preset": {}}
    intervals = {"overall": {"loss": interval, "accuracy": [0.4, 0.6]}}
    diff = record_two(small_store, measured={"metrics": json.dumps(values), "intervals": json.dumps(intervals)})
    assert diff.sections[0].changes[0].note == note


def test_metrics_on_other_data_say_so(small_store):
    values = {"candidate": {"overall": {"loss": 1.0}}, "preset": {}}
    diff = record_two(small_store, data="/data/new.jsonl", measured={"metrics": json.dumps(values)})
    assert (
        next(s.note for s in diff.sections if s.title == "Metrics")
        == "of the candidates, which were measured on other data"
    )


def test_a_rule_that_holds_for_one_only(small_store):
    checks = [{"metric": "loss", "slice_name": "overall", "rule": "<= 2", "passed": None}]
    diff = record_two(small_store, measured={"checks": json.dumps(checks)})
    assert list_changes(diff) == {"Verdict": {"loss: <= 2": ("holds", "not enough evidence")}}


def test_rows_by_split_and_single_files(small_store):
    for run_id, rows, digest in (("run-1", 80, "1"), ("run-2", 90, "2")):
        run = small_store.start(run_id)
        splits = json.dumps({"train": rows, "eval": 10})
        examples = run.node(
            "ExampleGen", {}, "examples", "Examples", data_path="/data/*.jsonl", data_sha256=digest * 64,
            rows_by_split=splits, rows_read=rows + 10,
        )  # fmt: skip
        folder = small_store.root.joinpath(examples.uri)
        folder.mkdir(parents=True)
        files = [{"path": "/data/a.jsonl", "sha256": "a"}, {"path": "/data/b.jsonl", "sha256": digest}]
        (folder / "ingest_report.json").write_text(json.dumps({"files": files}))
    diff = find_diff(small_store.reader)
    assert list_changes(diff) == {
        "Data": {
            "data_sha256": ("1" * 64, "2" * 64),
            "rows_read": (90, 100),
            "rows.train": (80, 90),
            "file /data/b.jsonl": ("1", "2"),
        }
    }
    assert "+10" in show(diff)


def test_nodes_from_the_cache_and_nodes_with_other_code(small_store):
    first = small_store.record("run-1", record=RECORD, trained={"tuned_hash": "same"})
    small_store.record("run-2", record=RECORD, reuse=first)
    nodes = list_changes(find_diff(small_store.reader))["Nodes"]
    assert nodes == dict.fromkeys(
        ("ExampleGen", "TokenizedSchema", "Tokenizer", "Transform", "Trainer"), ("ran", "cached")
    )
    for run_id, digest in (("run-3", "3"), ("run-4", "4")):
        run = small_store.start(run_id, code_sha256=digest * 64)
        nested = json.dumps({"custom_config": {"value": json.dumps({"code_hash": digest * 64})}})
        run.node("ExampleGen", {}, parameters={"custom_config": nested})
        run.node("Tokenizer", {}, parameters={"code_hash": "5" * 64})
    diff = find_diff(small_store.reader)
    assert list_changes(diff) == {
        "Code": {"code_sha256": ("3" * 64, "4" * 64), "nodes with other code": (None, "ExampleGen")}
    }


def test_commits_that_git_does_not_know(small_store):
    for number in (1, 2):
        small_store.start(f"run-{number}", code_version=f"{number}" * 40, code_dirty="false")
    (section,) = find_diff(small_store.reader).sections
    (change,) = section.changes
    assert (section.title, change.key, change.note) == ("Code", "code_version", "")


def test_commits_between(small_store, monkeypatch):
    commits = ["1" * 40, "2" * 40]
    for number, commit in enumerate(commits):
        small_store.start(f"run-{number}", code_version=commit)
    counted = subprocess.CompletedProcess([], 0, stdout=b"1\t12\n")
    monkeypatch.setattr("components.provenance.subprocess.run", lambda *_, **__: counted)
    (section,) = find_diff(small_store.reader).sections
    assert section.changes[0].note == "12 commits later and 1 commit back"


def test_times_alone_are_no_difference(small_store):
    diff = record_two(small_store, trained={"seconds": 90.0})
    assert (diff.is_equal, list_changes(diff)) == (True, {}), "without a time before there is none to compare with"
    small_store.record("run-3", record=RECORD, measured=MEASURED, trained={"seconds": 10.0, "tuned_hash": "same"})
    small_store.record("run-4", record=RECORD, measured=MEASURED, trained={"seconds": 20.0, "tuned_hash": "same"})
    diff = find_diff(small_store.reader)
    assert list_changes(diff) == {"Times": {"seconds": (10.0, 20.0)}}
    assert diff.is_equal and "Nothing differs but how long it took." in show(diff)


def test_runs_that_failed_or_are_still_going(small_store):
    small_store.record("run-1", record=RECORD)
    run = small_store.start("run-2", **RECORD)
    run.node("ExampleGen", {}, state=mlmd.Execution.FAILED)
    run.node("Trainer", {}, state=mlmd.Execution.RUNNING)
    changes = list_changes(find_diff(small_store.reader))
    assert changes["Training"] == {"model": ("trained", "not trained")}
    assert changes["Verdict"]["blessed"] == ("yes", "not evaluated")
    assert changes["Nodes"]["ExampleGen"] == ("ran", "failed")
    assert changes["Nodes"]["Trainer"] == ("ran", "running")
    assert changes["Nodes"]["Pusher"] == ("ran", None)
    assert "Metrics" not in changes


def test_models_without_a_known_run(small_store):
    model_type = small_store.store.put_artifact_type(mlmd.ArtifactType(name="Model"))
    ids = []
    for place, steps in (("/a", 10), ("/b", 20)):
        model = mlmd.Artifact(type_id=model_type, uri=place)
        model.custom_properties["steps"].int_value = steps
        model.custom_properties["hardware"].string_value = place
        ids += small_store.store.put_artifacts([model])
    diff = find_diff(small_store.reader, *map(str, ids))
    assert list_changes(diff) == {"Environment": {"hardware": ("/a", "/b")}, "Training": {"steps": (10, 20)}}
    assert "no known run" in show(diff)


# Which two are compared.


def test_words_for_runs(small_store):
    made = [small_store.record(f"run-{number}", blessed=number != 2) for number in range(4)]
    small_store.start("run-skipped", skipped="true")
    small_store.record("other-1", "other")
    small_store.record("other-2", "other")

    def ask(*words: str, pipeline_name: str | None = None) -> tuple[str, str]:
        diff = find_diff(small_store.reader, *words, pipeline_name=pipeline_name)
        return diff.before.run_id, diff.after.run_id

    assert ask() == ("other-1", "other-2")
    assert ask(pipeline_name="tiny") == ("run-2", "run-3")
    assert ask("run-0") == ("run-0", "run-3")
    assert ask("run-3") == ("run-2", "run-3")
    assert ask("latest~2", "latest", pipeline_name="tiny") == ("run-1", "run-3")
    assert ask("pushed~1", "pushed", pipeline_name="tiny") == ("run-1", "run-3")
    assert ask(str(made[0]["Trainer"].id), made[1]["Trainer"].uri) == ("run-0", "run-1")
    assert ask(f"{small_store.root}/serving/run-0", str(made[1]["Evaluator"].id)) == ("run-0", "run-1")


def test_a_model_from_the_cache_is_that_of_the_run_that_made_it(small_store):
    first = small_store.record("run-1")
    small_store.record("run-2", reuse=first)
    assert find_diff(small_store.reader, str(first["Trainer"].id), "run-2").before.run_id == "run-1"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "holds 1 run of the pipeline 'tiny', and no latest~1"),
        (("latest~5", "latest"), "no latest~5"),
        (("pushed~3", "latest"), "pushed~3 must be a model that was pushed"),
        (("nothing-of-that-sort", "latest"), "knows no 'nothing-of-that-sort'"),
        (("data/base/tiny", "latest"), "a comparison is of two runs"),
    ],
)
def test_what_cannot_be_compared_says_what_can(small_store, words: tuple[str, ...], message: str):
    small_store.record("run-1")
    with pytest.raises(UserError, match=message):
        find_diff(small_store.reader, *words)


def test_a_hash_of_several_runs_is_refused(small_store):
    for number in range(2):
        small_store.record(f"run-{number}", record={"code_version": "abcdef1234" * 4})
    with pytest.raises(UserError, match="fits 2 "):
        find_diff(small_store.reader, "abcdef12", "latest")


def test_exit_codes_and_json(small_store):
    record_two(small_store, record={"lock_sha256": "2" * 64})

    def ask(*words: str):
        return CliRunner().invoke(main, ["lineage", "diff", "--root", str(small_store.root), *words])

    assert ask().exit_code == 0
    assert ask("--exit-code").exit_code == 1
    assert ask("run-1", "run-1", "--exit-code").exit_code == 0
    told = json.loads(ask("--json").stdout)
    assert told["equal"] is False
    assert [(s["title"], s["changes"][0]["key"]) for s in told["sections"]] == [("Packages", "lock_sha256")]
    assert json.loads(ask("--json", "run-1", "run-1").stdout) | {"before": 0, "after": 0} == {
        "equal": True, "before": 0, "after": 0, "sections": [],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": {"b": 1}, "c": []}, {"a.b": 1, "c": []}),
        ({"a": {}}, {"a": {}}),
        ({"m": [{"name": "x", "k": 1}, {"name": "y"}]}, {"m[x].name": "x", "m[x].k": 1, "m[y].name": "y"}),
        ({"m": [{"metric": "x"}, {"metric": "x"}]}, {"m[0].metric": "x", "m[1].metric": "x"}),
        ({"m": [1, 2]}, {"m": [1, 2]}),
    ],
)
def test_flat_keys(value: Any, expected: dict[str, Any]):
    assert flatten(value, name_elements=True) == expected


def test_a_list_is_one_value_where_set_must_take_it():
    assert flatten({"m": [{"name": "x"}]}) == {"m": [{"name": "x"}]}
