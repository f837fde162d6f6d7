"""`export` finds the preset of what the store knows: runs, pushed versions, models."""

import pytest
from ml_metadata.proto import metadata_store_pb2 as mlmd

from components.errors import UserError
from pipeline.export_source import find_source
from pipeline.lineage.store import open_store

FILES = {"preset/config.json": "{}", "Format-Serving/saved_model.pb": "x"}


@pytest.fixture
def written(root_writer):
    """A run with a trained model, the export of the untouched preset, and a pushed version."""
    root_writer.start_run("run-1", "tiny")
    facts = {"method": "lora", "preset": "data/base/tiny"}
    model = root_writer.execution("run-1", "tiny", "Trainer", {}, {"model": ("Model", facts)}, files=FILES)["model"]
    preset = root_writer.execution(
        "run-1", "tiny", "PresetExporter", {}, {"model": ("Model", {"preset": "data/base/tiny"})}
    )["model"]
    pushed_to = root_writer.root / "serving" / "tiny" / "1"
    pushed_to.mkdir(parents=True)
    facts = {"pushed": 1, "pushed_destination": str(pushed_to)}
    root_writer.execution("run-1", "tiny", "Pusher", {"model": model}, {"pushed_model": ("PushedModel", facts)})
    return root_writer, model, preset, pushed_to


def find(written, text):
    return find_source(text, None, lambda: open_store(written[0].connection))


def test_all_names_of_a_model(written):
    _, model, _, pushed_to = written
    for text in (None, "run-1", str(model.id), model.uri, str(pushed_to), f"{model.uri}/preset"):
        source = find(written, text)
        assert source.preset == f"{model.uri}/preset", text
        assert source.trace is not None
        assert (source.trace.artifact.id, source.name) == (model.id, "tiny-run-1")
        assert source.saved_model == (None if text and text.endswith("/preset") else f"{model.uri}/Format-Serving")


def test_the_untouched_preset(written):
    source = find(written, str(written[2].id))
    assert (source.preset, source.saved_model, source.trace) == ("data/base/tiny", None, None)


def test_a_model_whose_files_are_gone(written):
    writer, model, _, _ = written
    for path in (f"{model.uri}/preset/config.json",):
        (writer.root / path).unlink()
    with pytest.raises(UserError, match=f"there is none in {model.uri}"):
        find(written, "run-1")
    model.state = mlmd.Artifact.DELETED
    writer.store.put_artifacts([model])
    with pytest.raises(UserError, match="removed by a collection"):
        find(written, "run-1")


def test_what_is_no_model(written):
    with pytest.raises(UserError, match="knows no 'run-9'"):
        find(written, "run-9")
