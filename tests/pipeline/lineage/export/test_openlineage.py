"""Tests of runs as OpenLineage events."""

import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import Result

from pipeline.lineage.export import openlineage, schemas
from pipeline.lineage.export.canonical import to_canonical
from pipeline.lineage.export.identifiers import make_run_uuid
from pipeline.lineage.export.places import make_uri, name_dataset, name_preset

COMMIT = "0123456789abcdef0123456789abcdef01234567"
RUNNING, FAILED, CANCELED = 2, 4, 6
Event = dict[str, Any]


def read(result: Result) -> list[Event]:
    assert result.exit_code == 0, result.stderr
    return [json.loads(line) for line in result.stdout_bytes.splitlines()]


def tell(events: list[Event]) -> list[tuple[str, str]]:
    return [(event["job"]["name"], event["eventType"]) for event in events]


def find(events: list[Event], job: str, kind: str) -> Event:
    (found,) = (event for event in events if (event["job"]["name"], event["eventType"]) == (job, kind))
    return found


def list_names(datasets: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(dataset["namespace"], dataset["name"]) for dataset in datasets]


def test_every_execution_starts_and_ends_within_its_run(store):
    store.record_run()
    events = read(store.export("run-1", "--format", "openlineage"))
    nodes = ["ExampleGen", "Trainer", "Evaluator", "Pusher"]
    assert tell(events) == [
        ("tiny", "START"),
        *((f"tiny.{node}", kind) for node in nodes for kind in ("START", "COMPLETE")),
        ("tiny", "COMPLETE"),
    ]
    times = [event["eventTime"] for event in events]
    assert times == sorted(times)
    run = events[0]["run"]["runId"]
    assert events[-1]["run"]["runId"] == run
    for event in events[1:-1]:
        parent = event["run"]["facets"]["parent"]
        assert parent["run"] == {"runId": run}
        assert parent["job"] == {"namespace": "lm-fine-tuning", "name": "tiny"}
    ids = {event["run"]["runId"] for event in events}
    assert len(ids) == 5, "START and end of one execution have one id"
    assert all(str(uuid.UUID(text)) == text for text in ids)


def test_data_model_and_push_are_datasets(store):
    store.record_run()
    events = read(store.export("run-1", "--format", "openlineage"))
    read_data = find(events, "tiny.ExampleGen", "COMPLETE")
    assert list_names(read_data["inputs"]) == [("file", "data/sample.jsonl")]
    (data,) = read_data["inputs"]
    assert data["facets"]["version"]["datasetVersion"] == "a" * 64
    assert data["inputFacets"]["inputStatistics"]["rowCount"] == 100
    assert data["inputFacets"]["dataQualityMetrics"]["rowCount"] == 100
    rows = data["inputFacets"]["lmFineTuning_rows"]
    assert (rows["read"], rows["kept"], rows["quarantined"], rows["bySplit"]) == (100, 97, 3, {"train": 80, "eval": 17})
    (examples,) = read_data["outputs"]
    written = examples["outputFacets"]["outputStatistics"]
    assert (written["rowCount"], written["size"], written["fileCount"]) == (97, 4096, 2)
    assert examples["facets"]["version"]["datasetVersion"] == "e" * 64

    trained = find(events, "tiny.Trainer", "COMPLETE")
    assert list_names(trained["inputs"]) == [("file", "/runs/ExampleGen/run-1"), ("file", "data/base/tiny")]
    assert trained["inputs"][1]["facets"]["version"]["datasetVersion"] == "b" * 64
    assert trained["outputs"][0]["facets"]["datasetType"]["datasetType"] == "MODEL"
    assert trained["outputs"][0]["facets"]["dataSource"]["uri"] == "file:///runs/Trainer/run-1"
    assert trained["outputs"][0]["facets"]["lmFineTuning_artifact"]["properties"]["method"] == "lora"
    pushed = find(events, "tiny.Pusher", "COMPLETE")
    assert list_names(pushed["outputs"]) == [("file", "/runs/Pusher/run-1"), ("file", "/runs/serving/run-1")]


def test_a_preset_that_an_execution_names_is_read(store):
    store.execution("run-1", "Tokenizer", preset="gpt2_base_en", preset_hash="9" * 64)
    (preset,) = find(read(store.export("run-1", "--format", "openlineage")), "tiny.Tokenizer", "COMPLETE")["inputs"]
    assert (preset["namespace"], preset["name"]) == ("keras-hub", "gpt2_base_en")
    assert preset["facets"]["version"]["datasetVersion"] == "9" * 64


def test_facets_of_jobs_and_runs_tell_code_parameters_and_engine(store):
    store.record_run(code_dirty="true", process="some-host 123 456.78")
    events = read(store.export("run-1", "--format", "openlineage"))
    trained = find(events, "tiny.Trainer", "START")
    code = trained["job"]["facets"]["sourceCodeLocation"]
    assert (code["type"], code["url"], code["version"]) == ("git", f"swh:1:rev:{COMMIT}", f"{COMMIT}-dirty")
    assert trained["job"]["facets"]["jobType"]["integration"] == "TFX"
    assert trained["run"]["facets"]["executionParameters"]["parameters"] == [
        {"key": "custom_config", "value": '{"a": 1}'}
    ]
    engine = trained["run"]["facets"]["processing_engine"]
    assert (engine["name"], engine["version"]) == ("TFX", "1.21.0")
    recorded = events[0]["run"]["facets"]["lmFineTuning_run"]["recorded"]
    assert "process" not in recorded, "where a run was started is nobody else's business"
    assert recorded["config"] == "text:\n  template: alpaca\n" and recorded["lock_sha256"] == "f" * 64


def test_a_failed_execution_tells_why_and_a_later_attempt_counts(store):
    store.start_run("run-1")
    store.execution("run-1", "Trainer", state=FAILED, failure="ResourceExhaustedError: out of memory")
    events = read(store.export("run-1", "--format", "openlineage"))
    assert tell(events)[1:] == [("tiny.Trainer", "START"), ("tiny.Trainer", "FAIL"), ("tiny", "FAIL")]
    error = find(events, "tiny.Trainer", "FAIL")["run"]["facets"]["errorMessage"]
    assert error["message"] == "ResourceExhaustedError: out of memory" and error["programmingLanguage"] == "Python"

    store.execution("run-1", "Trainer")
    events = read(store.export("run-1", "--format", "openlineage"))
    assert tell(events)[3:] == [("tiny.Trainer", "START"), ("tiny.Trainer", "COMPLETE"), ("tiny", "COMPLETE")]
    assert len({event["run"]["runId"] for event in events if event["job"]["name"] == "tiny.Trainer"}) == 2


def test_what_still_runs_has_no_end(store):
    store.start_run("run-1", nodes='["ExampleGen", "Trainer"]')
    store.execution("run-1", "ExampleGen")
    between = read(store.export("run-1", "--format", "openlineage"))
    assert tell(between) == [("tiny", "START"), ("tiny.ExampleGen", "START"), ("tiny.ExampleGen", "COMPLETE")]
    store.execution("run-1", "Trainer", state=RUNNING)
    events = read(store.export("run-1", "--format", "openlineage"))
    assert tell(events)[3:] == [("tiny.Trainer", "START")]


def test_a_canceled_execution_is_aborted(store):
    store.execution("run-1", "Trainer", state=CANCELED)
    assert tell(read(store.export("run-1", "--format", "openlineage")))[2:] == [
        ("tiny.Trainer", "ABORT"),
        ("tiny", "ABORT"),
    ]


def test_a_run_of_which_nothing_but_its_name_is_known(store):
    store.start_run("run-1")
    assert tell(read(store.export("run-1", "--format", "openlineage"))) == [("unknown", "START")]


def test_a_cached_execution_names_the_one_that_it_took_over(store):
    first = store.record_run("run-1")
    store.record_run("run-2", reuse=first)
    events = read(store.export("run-2", "--format", "openlineage"))
    trained = find(events, "tiny.Trainer", "START")["run"]
    reused = trained["facets"]["lmFineTuning_execution"]["reusedFrom"]
    assert reused["run"] == "run-1" and trained["facets"]["lmFineTuning_execution"]["state"] == "CACHED"
    made = find(read(store.export("run-1", "--format", "openlineage")), "tiny.Trainer", "START")["run"]["runId"]
    assert reused["runId"] == made != trained["runId"]


def test_a_model_stands_for_the_runs_behind_it(store):
    first = store.record_run("run-1")
    store.record_run("run-2", reuse=first)
    store.execution("run-3", "ExampleGen")
    for subject in ((), ("/runs/serving/run-2",), ("/runs/Pusher/run-2",)):
        events = read(store.export(*subject, "--format", "openlineage"))
        runs = {event["run"]["runId"] for event in events if event["job"]["name"] == "tiny"}
        assert runs == {make_run_uuid("tiny", "run-1"), make_run_uuid("tiny", "run-2")}
    examples = read(store.export("/runs/ExampleGen/run-1", "--format", "openlineage"))
    assert {event["run"]["runId"] for event in examples if event["job"]["name"] == "tiny"} == {
        make_run_uuid("tiny", "run-1")
    }


def test_more_runs_than_are_in_memory_at_once(store, monkeypatch):
    monkeypatch.setattr(openlineage, "_RUNS_AT_ONCE", 2)
    for number in range(5):
        store.start_run(f"run-{number}", code_version=COMMIT)
        store.execution(f"run-{number}", "ExampleGen")
    events = read(store.export(COMMIT, "--format", "openlineage"))
    assert tell(events).count(("tiny.ExampleGen", "COMPLETE")) == 5


def test_the_same_store_gives_the_same_bytes(store):
    store.record_run()
    first, second = (store.export("--format", "openlineage").stdout_bytes for _ in range(2))
    assert first == second
    assert [to_canonical(json.loads(line)) for line in first.splitlines()] == first.splitlines()


@pytest.mark.parametrize("place", ["/ru ns/ü\"n's\\#?%", "gs://bucket/ru ns/é", "s3://b/a b"])
def test_odd_characters_in_places_and_properties(make_store: Callable, place: str):
    store = make_store(place=place)
    store.record_run(config_path='a "b" \u2028 \x01')
    events = read(store.export("run-1", "--format", "openlineage"))
    (model,) = find(events, "tiny.Trainer", "COMPLETE")["outputs"]
    namespace, name = name_dataset(place)
    assert (model["namespace"], model["name"]) == (namespace, f"{name}/Trainer/run-1")


def test_what_does_not_fit_the_schema_is_not_written(store, monkeypatch, tmp_path):
    store.record_run()
    target = tmp_path / "events.ndjson"
    target.write_text("before")
    monkeypatch.setattr(openlineage, "PROJECT_URI", "no uri")
    result = store.export("--format", "openlineage", "--output", str(target))
    assert isinstance(result.exception, schemas.SchemaMismatchError) and "producer" in str(result.exception)
    assert target.read_text() == "before" and list(tmp_path.glob(".*")) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda event: event.update(eventTime="yesterday"), "eventTime"),
        (lambda event: event["run"].update(runId="run-1"), "runId"),
        (lambda event: event["run"]["facets"]["parent"].pop("job"), "parent"),
        (lambda event: event["outputs"][0]["outputFacets"]["outputStatistics"].update(rowCount="many"), "rowCount"),
        (lambda event: event["inputs"][0]["inputFacets"]["dataQualityMetrics"].pop("columnMetrics"), "columnMetrics"),
        (lambda event: event["inputs"][0]["facets"]["version"].pop("datasetVersion"), "datasetVersion"),
        (lambda event: event["job"]["facets"]["jobType"].pop("integration"), "integration"),
    ],
)
def test_the_schemas_of_events_and_facets_are_checked(store, change: Callable[[Event], None], message: str):
    store.record_run()
    event = find(read(store.export("run-1", "--format", "openlineage")), "tiny.ExampleGen", "COMPLETE")
    schemas.check_event(event)
    change(event)
    with pytest.raises(schemas.SchemaMismatchError, match=message):
        schemas.check_event(event)


def test_output_is_told_as_json(store, tmp_path):
    store.record_run()
    target = tmp_path / "events.ndjson"
    told = json.loads(store.export("--format", "openlineage", "--output", str(target), "--json").stdout)
    assert (told["file"], told["events"]) == (str(target), len(target.read_bytes().splitlines()))


def test_the_namespace_of_jobs(store):
    store.record_run()
    given = read(store.export("--format", "openlineage", "--namespace", "prod"))
    assert {event["job"]["namespace"] for event in given} == {"prod"}
    from_environment = store.export("--format", "openlineage", env={"OPENLINEAGE_NAMESPACE": "staging"})
    assert {event["job"]["namespace"] for event in read(from_environment)} == {"staging"}


@pytest.mark.parametrize(
    ("place", "named", "uri"),
    [
        ("/data/a b.jsonl", ("file", "/data/a b.jsonl"), "file:///data/a%20b.jsonl"),
        ("data/a#1.jsonl", ("file", "data/a#1.jsonl"), "data/a%231.jsonl"),
        ("a:b/c", ("file", "a:b/c"), "a%3Ab/c"),
        ("file:///data/a", ("file", "/data/a"), "file:///data/a"),
        ("gs://bucket/a/b", ("gs://bucket", "a/b"), "gs://bucket/a/b"),
        ("gs://bucket", ("gs://bucket", "/"), "gs://bucket"),
        ("s3a://bucket/a/ü", ("s3://bucket", "a/ü"), "s3://bucket/a/%C3%BC"),
        ("hdfs://host:9000/a/b", ("hdfs://host:9000", "/a/b"), "hdfs://host:9000/a/b"),
    ],
)
def test_places_are_named_by_the_rules(place: str, named: tuple[str, str], uri: str):
    assert (name_dataset(place), make_uri(place)) == (named, uri)


def test_presets_are_named():
    assert name_preset("gpt2_base_en") == ("keras-hub", "gpt2_base_en")
    assert name_preset("hf://google/gemma-2b") == ("hf://google", "gemma-2b")
    assert name_preset("/models/own") == ("file", "/models/own")


def test_a_runs_own_uuid_is_kept():
    own = "8754b2e0-e516-4c32-94ef-45dab01d05b5"
    assert make_run_uuid("tiny", own) == own
    assert make_run_uuid("tiny", "run-1") != make_run_uuid("other", "run-1")


@pytest.mark.parametrize("many_runs", ["sqlite"], indirect=True)
def test_every_run_of_a_large_store_has_valid_events(many_runs, store_of):
    root, run_ids = many_runs
    store = store_of(root)
    contexts = store.get_contexts_by_type("pipeline_run")
    # They are checked against the schemas on the way.
    events = list(openlineage.list_events(store, contexts, "jobs"))
    kinds = [event["eventType"] for event in events]
    assert kinds.count("START") == len(run_ids) + len(store.get_executions())
    assert {"COMPLETE", "FAIL"} <= set(kinds)
    cached = [event for event in events if "reusedFrom" in event["run"]["facets"].get("lmFineTuning_execution", {})]
    assert cached and {event["eventType"] for event in cached} == {"START"}
