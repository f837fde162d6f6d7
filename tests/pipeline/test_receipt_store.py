"""Receipts are found by run, also those of runs that were stopped; and the command that shows them."""

import json
import os
import re

import pytest
from click.testing import CliRunner
from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

from components.errors import UserError
from components.receipt.component import TrainingReceipt
from pipeline.cli import main
from pipeline.receipt_report import read_receipt
from pipeline.receipt_store import RECEIPT_TYPE, load_receipts


class Writer:
    """Writes receipts of runs as TFX records them."""

    def __init__(self, root):
        self.root = root
        config = mlmd.ConnectionConfig()
        config.sqlite.filename_uri = str(root / "metadata.sqlite")
        config.sqlite.connection_mode = mlmd.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
        self.store = MetadataStore(config)
        self.type_id = self.store.put_artifact_type(mlmd.ArtifactType(name=RECEIPT_TYPE))

    def get_context(self, kind, name):
        if found := self.store.get_context_by_type_and_name(kind, name):
            return found.id
        type_id = self.store.put_context_type(mlmd.ContextType(name=kind))
        return self.store.put_contexts([mlmd.Context(type_id=type_id, name=name)])[0]

    def record(self, run, receipt, node="Receipt", pipeline="p", state=mlmd.Artifact.LIVE):
        folder = self.root / "artifacts" / pipeline / node / "receipt" / f"{run}{node}"
        folder.mkdir(parents=True)
        (folder / "receipt.json").write_text(receipt.model_dump_json())
        artifact = mlmd.Artifact(type_id=self.type_id, uri=str(folder), state=state)
        (artifact_id,) = self.store.put_artifacts([artifact])
        links = [
            mlmd.Attribution(artifact_id=artifact_id, context_id=self.get_context(kind, name))
            for kind, name in (("pipeline", pipeline), ("pipeline_run", run))
        ]
        self.store.put_attributions_and_associations(links, [])

    def keep(self, run, receipt, node="Receipt", pipeline="p"):
        folder = self.root / "receipts" / pipeline
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{run}.{node}.json"
        path.write_text(receipt.model_dump_json())
        return path


@pytest.fixture
def writer(tmp_path):
    return Writer(tmp_path)


def test_the_type_is_the_components():
    assert TrainingReceipt.TYPE_NAME == RECEIPT_TYPE


def test_the_newest_run_with_all_its_receipts(writer, make_receipt, tmp_path):
    writer.record("run1", make_receipt("old"))
    writer.record("run2", make_receipt(train_split="warmup"), node="ReferenceReceipt")
    writer.record("run2", make_receipt("new"))
    writer.record("run3", make_receipt(), state=mlmd.Artifact.ABANDONED)
    found = load_receipts(writer.store, tmp_path)
    assert (found.run_id, found.pipeline_name, list(found.receipts)) == ("run2", "p", ["ReferenceReceipt", "Receipt"])
    assert found.receipts["Receipt"] == make_receipt("new")
    assert load_receipts(writer.store, tmp_path, "run1").receipts == {"Receipt": make_receipt("old")}


def test_the_newest_run_is_the_one_that_came_last_whatever_its_name(writer, make_receipt, tmp_path):
    """Runs of Kubeflow have random ids."""
    for run in ("f0e1", "20261201-1", "0a1b"):
        writer.record(run, make_receipt(run))
    assert load_receipts(writer.store, tmp_path).run_id == "0a1b"
    # A later run took the receipt of the first from the cache.
    (first,) = [a for a in writer.store.get_artifacts() if "f0e1" in a.uri]
    links = [
        mlmd.Attribution(artifact_id=first.id, context_id=writer.get_context(kind, name))
        for kind, name in (("pipeline", "p"), ("pipeline_run", "cached"))
    ]
    writer.store.put_attributions_and_associations(links, [])
    assert load_receipts(writer.store, tmp_path).run_id == "cached"
    path = writer.keep("20261130-9", make_receipt("stopped"))
    os.utime(path, (2e9, 2e9))
    assert load_receipts(writer.store, tmp_path).run_id == "20261130-9"
    os.utime(path, (1, 1))
    assert load_receipts(writer.store, tmp_path).run_id == "cached"
    with pytest.raises(UserError, match="newest first: cached, 0a1b, 20261201-1, f0e1, 20261130-9"):
        load_receipts(writer.store, tmp_path, "none")


def test_what_a_stopped_run_has_left_is_found_too(writer, make_receipt, tmp_path):
    writer.record("run1", make_receipt("one"))
    writer.record("run2", make_receipt(), node="Round0Receipt")
    writer.keep("run2", make_receipt("stopped"))
    writer.keep("run9", make_receipt("other"), pipeline="q")
    assert load_receipts(writer.store, tmp_path).run_id == "run9"
    found = load_receipts(writer.store, tmp_path, pipeline_name="p")
    assert found.receipts == {"Receipt": make_receipt("stopped"), "Round0Receipt": make_receipt()}
    # It went on with other rules.
    writer.record("run2", make_receipt("passed"))
    assert load_receipts(writer.store, tmp_path, "run2").receipts["Receipt"] == make_receipt("passed")


def test_a_run_without_receipt_is_told_the_others(writer, make_receipt, tmp_path):
    with pytest.raises(UserError, match=r"Received: any run of any pipeline\. Such runs, newest first: none\."):
        load_receipts(writer.store, tmp_path)
    for i in range(7):
        writer.record(f"run{i}", make_receipt())
    with pytest.raises(
        UserError, match=r"Received: run8 of any pipeline\. .* run6, run5, run4, run3, run2 and 2 more\."
    ):
        load_receipts(writer.store, tmp_path, "run8")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, r"must be a file that you can read\. Received: .*nothing\.json \(No such file"),
        ("{", r"must be the receipt of a training, format version 1\. Received: Expecting"),
        ("{}", r"Received: format_version: Field required"),
        ('{"format_version": 2}', r"Received: format_version: Input should be 1"),
    ],
)
def test_a_file_that_is_no_receipt(tmp_path, content, expected):
    path = tmp_path / "nothing.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=expected):
        read_receipt(path)


def call(root, *arguments):
    return CliRunner().invoke(main, ["receipt", "--root", str(root), *arguments])


def test_command(writer, make_receipt, tmp_path):
    writer.record("run1", make_receipt())
    done = call(tmp_path)
    assert done.exit_code == 0, done.output
    assert "Run run1, pipeline p" in done.output and "{+Red.!" in done.output
    page = re.search(r"Page: (.*)", done.output)[1]
    assert page == str(tmp_path / "reports" / "p" / "run1.receipt.html")
    assert "What the loss sees" in (tmp_path / "reports" / "p" / "run1.receipt.html").read_text()
    told = json.loads(call(tmp_path, "--json", "--run", "run1").output)
    assert list(told["receipts"]) == ["Receipt"]


def test_a_place_that_is_no_folder_of_a_node_is_named(writer, make_receipt, tmp_path):
    writer.record("run1", make_receipt())
    (artifact,) = writer.store.get_artifacts()
    artifact.uri = "/a"
    writer.store.put_artifacts([artifact])
    result = call(tmp_path)
    assert isinstance(result.exception, SystemExit), result.exc_info
    assert "artifact 1 (pipeline.TrainingReceipt) is in no folder of a node: '/a'" in result.output
    assert "put back a copy of it" in result.output


def test_command_on_the_file_of_a_stopped_run(writer, make_receipt, tmp_path):
    path = writer.keep("run7", make_receipt("stopped"), node="Round1Receipt")
    (tmp_path / "metadata.sqlite").unlink()
    done = call(tmp_path, str(path), "--html", str(tmp_path / "page.html"))
    assert done.exit_code == 0, done.output
    assert "Run run7, pipeline p" in done.output and "{+stopped!" in done.output
    assert "stopped" in (tmp_path / "page.html").read_text()
    for wrong in ([str(path), "--run", "run7"], ["--json", "--html", "x"]):
        refused = call(tmp_path, *wrong)
        assert refused.exit_code == 2 and "not both" in refused.output
