"""Tests of `lineage gc --orphans`: what killed executions have left goes, and nothing else does."""

import os
import shutil
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from ml_metadata.proto import metadata_store_pb2 as mlmd

from components import storage
from components.content import find_manifest
from pipeline.lineage import collect as collection


def collect(writer, pipeline: str | None = None, with_leftovers: bool = True):
    return collection.collect(writer.connection, str(writer.root), 1, pipeline, with_leftovers)


def run_command(writer, *arguments: str):
    from pipeline.lineage_cli.group import lineage_group

    return CliRunner().invoke(lineage_group, [*arguments, "--root", str(writer.root)])


@pytest.fixture
def left(root_writer) -> Path:
    """A folder that an execution has left half written, the day before yesterday."""
    root_writer.record_run("run-1")
    root_writer.execution("run-1", "tiny", "Trainer", {}, {}, state=mlmd.Execution.FAILED)
    newest = max(execution.id for execution in root_writer.store.get_executions())
    folder = root_writer.root / f"artifacts/tiny/Trainer/model/{newest}"
    write(folder / "half")
    return folder


def write(path: Path, age: float = 2 * 86_400) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("123")
    os.utime(path, (time.time() - age,) * 2)


def test_they_go_only_if_asked_for(root_writer, left: Path):
    assert collect(root_writer, with_leftovers=False).plan.folders == () and left.exists()
    (folder,) = collect(root_writer).plan.folders
    assert (folder.kind, folder.place, folder.num_bytes) == ("left over", str(left), 3)
    assert "FAILED" in folder.reason and 2 * 86_400 <= folder.age_seconds < 2 * 86_400 + 600
    assert not left.exists()


def test_working_files_go(root_writer, left: Path):
    working = root_writer.root / "artifacts/tiny/Trainer/.system/executor_execution/9"
    write(working / ".temp/x")
    assert {Path(f.place) for f in collect(root_writer).plan.folders} == {left, working}
    assert not working.exists()


@pytest.mark.parametrize(
    "name",
    [
        "serving/tiny/17/saved_model.pb",
        "reports/tiny/run-9.tokens.html",
        "logs/tiny/run-9/run.log",
        "artifacts/tiny/mine/by/hand/x",
        "artifacts/tiny/Trainer/model/999999/x",
        "artifacts/tiny/Trainer/.system/contents/99/model",
    ],
)
def test_what_others_may_have_put_there_stays(root_writer, left: Path, name: str):
    write(root_writer.root / name)
    (folder,) = collect(root_writer).plan.folders
    assert folder.place == str(left) and (root_writer.root / name).exists()


def test_what_was_published_by_another_store_stays(root_writer, left: Path):
    storage.write_text(find_manifest(str(left)), "")
    assert collect(root_writer).plan.folders == () and left.exists()


def test_what_cannot_be_read_stays_and_the_rest_goes(root_writer, left: Path, close_folder):
    other = root_writer.root / "artifacts/tiny/Trainer/.system/executor_execution/9"
    write(other / "seen")
    (other / "closed").mkdir()
    close_folder(other / "closed")
    assert [folder.place for folder in collect(root_writer).plan.folders] == [str(left)]
    assert other.exists() and not left.exists()


def test_what_is_young_stays(root_writer, left: Path):
    write(left / "half", age=3600)
    assert collect(root_writer).plan.folders == () and left.exists()


def test_what_a_complete_execution_has_dropped_stays(root_writer, left: Path):
    (execution,) = root_writer.store.get_executions_by_id([int(left.name)])
    execution.last_known_state = mlmd.Execution.COMPLETE
    root_writer.store.put_executions([execution])
    assert collect(root_writer).plan.folders == () and left.exists()


def test_those_of_other_pipelines_stay(root_writer, left: Path):
    root_writer.record_run("other-1", pipeline="other")
    assert collect(root_writer, pipeline="other").plan.folders == () and left.exists()


def test_a_link_is_not_followed(root_writer, left: Path, tmp_path: Path):
    elsewhere = tmp_path / "elsewhere"
    shutil.move(left.parent, elsewhere)
    left.parent.symlink_to(elsewhere)
    assert collect(root_writer).plan.folders == ()
    assert (elsewhere / left.name / "half").exists()


def test_verify_says_how(root_writer, left: Path):
    assert "gc --orphans" in run_command(root_writer, "verify").stdout
    told = run_command(root_writer, "gc", "--keep", "1", "--orphans", "--yes")
    assert (told.exit_code, left.exists()) == (0, False) and "left over" in told.stdout
    assert "gc --orphans" not in run_command(root_writer, "verify").stdout
