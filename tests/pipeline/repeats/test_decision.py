import json

import pytest
from ml_metadata.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2

from pipeline import run_or_skip

INPUTS = {"data": "d", "config": "c", "code": "k", "preset": "p", "lock": "l"}


@pytest.fixture
def store():
    config = metadata_store_pb2.ConnectionConfig()
    config.fake_database.SetInParent()
    store = MetadataStore(config)
    store.put_context_type(metadata_store_pb2.ContextType(name="pipeline_run"))
    store.put_artifact_type(metadata_store_pb2.ArtifactType(name="ModelBlessing"))
    return store


@pytest.fixture
def add(store):
    def make(run_id, inputs, blessed, pipeline="p"):
        context = metadata_store_pb2.Context(type_id=store.get_context_type("pipeline_run").id, name=run_id)
        context.custom_properties["pipeline_name"].string_value = pipeline
        context.custom_properties["inputs"].string_value = json.dumps(inputs)
        (context_id,) = store.put_contexts([context])
        artifact = metadata_store_pb2.Artifact(type_id=store.get_artifact_type("ModelBlessing").id, uri=f"/{run_id}")
        artifact.custom_properties["blessed"].int_value = blessed
        (artifact_id,) = store.put_artifacts([artifact])
        attribution = metadata_store_pb2.Attribution(artifact_id=artifact_id, context_id=context_id)
        store.put_attributions_and_associations([attribution], [])

    return make


def test_the_same_inputs_as_a_blessed_run_are_skipped_and_recorded(store, add):
    add("run-1", INPUTS, 1)
    add("run-2", INPUTS | {"data": "other"}, 1)
    decision = run_or_skip.decide(store, "p", INPUTS)
    assert decision.same_as == "run-1"
    run_or_skip.record_skipped(store, "run-3", {"pipeline_name": "p", "inputs": json.dumps(INPUTS)}, decision)
    recorded = store.get_context_by_type_and_name("pipeline_run", "run-3").custom_properties
    assert {name: recorded[name].string_value for name in ("skipped", "same_as_run")} == {
        "skipped": "true",
        "same_as_run": "run-1",
    }
    assert "run-1" in recorded["skip_reason"].string_value
    # The skipped run itself is no blessed run.
    assert run_or_skip.decide(store, "p", INPUTS).same_as == "run-1"


@pytest.mark.parametrize(("part", "words"), list(run_or_skip._PARTS.items()))
def test_whatever_changed_is_named(store, add, part, words):
    add("run-1", INPUTS, 1)
    decision = run_or_skip.decide(store, "p", INPUTS | {part: "new"})
    assert (decision.same_as, decision.reason) == (None, f"changed since the blessed run run-1: {words}")


def test_what_was_refused_or_another_pipelines_does_not_count(store, add):
    add("run-1", INPUTS, 0)
    add("run-2", INPUTS, 1, pipeline="q")
    decision = run_or_skip.decide(store, "p", INPUTS)
    assert (decision.same_as, decision.reason) == (None, "no run of this pipeline was blessed before")


def test_what_cannot_be_known_is_run(store, add):
    add("run-1", INPUTS | {"data": ""}, 1)
    decision = run_or_skip.decide(store, "p", INPUTS | {"data": ""})
    assert decision.same_as is None
    assert "the data" in decision.reason


def test_data_are_known_by_content_and_spans(tmp_path):
    for span in (1, 2):
        (tmp_path / f"{span}.jsonl").write_text(f"{span}")
    pattern = f"{tmp_path}/{{SPAN}}.jsonl"
    newest = run_or_skip.hash_data(pattern, 1)
    assert newest == run_or_skip.hash_data(str(tmp_path / "2.jsonl"), 1)
    assert newest != run_or_skip.hash_data(pattern, 2)
    before = run_or_skip.hash_data(str(tmp_path / "1.jsonl"), 1)
    (tmp_path / "1.jsonl").write_text("x")
    assert run_or_skip.hash_data(str(tmp_path / "1.jsonl"), 1) != before
    assert run_or_skip.hash_data("gs://bucket/data", 1) == ""
