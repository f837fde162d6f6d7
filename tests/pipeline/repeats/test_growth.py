"""By how many rows data grew, in a real store."""

import json

import pytest
from ml_metadata.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2

from configs.runner_schema import SqliteSection
from pipeline.execution.run_state import NodeState
from pipeline.metadata_connection import make_connection
from pipeline.repeats.growth import read_growth, tell_growth
from pipeline.repeats.inputs import INPUTS

Artifact = metadata_store_pb2.Artifact
Execution = metadata_store_pb2.Execution


@pytest.fixture
def connection(tmp_path):
    return make_connection(SqliteSection(kind="sqlite"), str(tmp_path))


@pytest.fixture
def ingest(connection):
    """Puts a run into the store whose ExampleGen has read so many rows; returns the state of that node."""
    store = MetadataStore(connection)
    types = {
        name: store.put_context_type(metadata_store_pb2.ContextType(name=name))
        for name in ("pipeline", "pipeline_run", "node")
    }
    artifact_type = store.put_artifact_type(metadata_store_pb2.ArtifactType(name="Examples"))

    def make(run_id, rows, pipeline="p", node_id="ExampleGen", state=Execution.COMPLETE, artifact_state=Artifact.LIVE):
        contexts = []
        for kind, name in (("pipeline", pipeline), ("pipeline_run", run_id), ("node", f"{pipeline}.{node_id}")):
            there = store.get_context_by_type_and_name(kind, name)
            contexts += (
                [there.id]
                if there
                else store.put_contexts([metadata_store_pb2.Context(type_id=types[kind], name=name)])
            )
        examples = Artifact(type_id=artifact_type, uri=f"/{run_id}/{node_id}", state=artifact_state)
        examples.custom_properties["rows_read"].int_value = rows
        (artifact_id,) = store.put_artifacts([examples])
        attributions = [metadata_store_pb2.Attribution(artifact_id=artifact_id, context_id=c) for c in contexts]
        store.put_attributions_and_associations(attributions, [])
        (examples,) = store.get_artifacts_by_id([artifact_id])
        execution = Execution(last_known_state=state)
        return NodeState(node_id=node_id, execution=execution, outputs={"examples": [examples]})

    return make


def tell(connection, run_id, state, pipeline="p"):
    return tell_growth(connection, pipeline, run_id, state), read_growth(MetadataStore(connection), run_id)


def test_the_first_data_are_no_growth(connection, ingest):
    assert tell(connection, "run-1", ingest("run-1", 5400)) == ("5,400 rows", "")


@pytest.mark.parametrize(
    ("rows", "gained", "words"),
    [(6400, 1000, "1,000 more than before"), (5399, -1, "1 fewer than before"), (5400, 0, "as many as before")],
)
def test_the_difference_to_the_newest_other_data_is_told_and_recorded(connection, ingest, rows, gained, words):
    ingest("run-1", 1)
    ingest("run-2", 5400)
    # Other data than the pipeline's own.
    ingest("run-x", 7, pipeline="q")
    ingest("run-2", 8, node_id="GeneralExampleGen")
    # What a failed node has left.
    ingest("run-y", 0, artifact_state=Artifact.ABANDONED)
    assert tell(connection, "run-3", ingest("run-3", rows)) == (f"{rows:,} rows, {words}", words)
    context = MetadataStore(connection).get_context_by_type_and_name("pipeline_run", "run-3")
    assert context.custom_properties["num_rows_gained"].int_value == gained
    # Told again, of a run that goes on: the same.
    newest = ingest("run-4", 9)
    assert tell(connection, "run-4", newest) == tell(connection, "run-4", newest)


def test_examples_stay_as_they_are_since_cache_keys_are_made_of_them(connection, ingest):
    ingest("run-1", 1)
    state = ingest("run-2", 2)
    (before,) = state.outputs["examples"]
    tell(connection, "run-2", state)
    assert MetadataStore(connection).get_artifacts_by_id([before.id]) == [before]


def test_columns_that_are_not_used_are_named(connection, ingest):
    state = ingest("run-1", 5400)
    (examples,) = state.outputs["examples"]
    examples.custom_properties["columns_dropped"].string_value = "system, topic"
    assert tell(connection, "run-1", state)[0] == "5,400 rows; columns that are not used: system, topic"
    state.outputs["examples"][0].custom_properties["rows_left_out"].int_value = 1400
    told = tell(connection, "run-1", state)[0]
    assert told.startswith("5,400 rows, of them 1,400 left out by data.where")


def test_links_out_of_the_folder_are_named(connection, ingest):
    state = ingest("run-1", 2)
    state.outputs["examples"][0].custom_properties["links_out"].string_value = "a.jsonl (/srv/a.jsonl)"
    assert tell(connection, "run-1", state)[0] == "2 rows; links to files elsewhere: a.jsonl (/srv/a.jsonl)"


@pytest.mark.parametrize("state", [Execution.COMPLETE, Execution.CACHED])
def test_the_record_names_the_data_that_were_read(connection, ingest, state):
    read = ingest("run-1", 1, state=state)
    (examples,) = read.outputs["examples"]
    examples.custom_properties["data_sha256"].string_value = "read"
    store = MetadataStore(connection)
    context = store.get_context_by_type_and_name("pipeline_run", "run-1")
    tell(connection, "run-1", read)  # a run without a record has none then
    assert INPUTS not in store.get_context_by_type_and_name("pipeline_run", "run-1").custom_properties
    context.custom_properties[INPUTS].string_value = json.dumps({"data": "when it began", "code": "c"})
    store.put_contexts([context])
    tell(connection, "run-1", read)
    context = store.get_context_by_type_and_name("pipeline_run", "run-1")
    assert json.loads(context.custom_properties[INPUTS].string_value) == {"data": "read", "code": "c"}


def test_data_from_the_cache_and_other_nodes_are_no_news(connection, ingest):
    ingest("run-1", 1)
    assert tell(connection, "run-2", ingest("run-2", 2, state=Execution.CACHED)) == ("", "")
    assert tell(connection, "run-3", ingest("run-3", 2, node_id="Tokenizer")) == ("", "")
    assert read_growth(MetadataStore(connection), "nowhere") == ""
