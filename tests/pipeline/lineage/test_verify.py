"""Tests of `lineage verify`, on files and a store as runs write them."""

import hashlib
import json
import os
import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from ml_metadata.proto import metadata_store_pb2 as mlmd

from components.content import find_manifest
from components.errors import UserError
from components.pusher.versions import write_mark
from pipeline import exit_codes
from pipeline.execution.run_state import describe_process
from pipeline.lineage import verify as verification
from pipeline.lineage.contents import SOURCE_DATA, State
from pipeline.lineage.store import find_by_path, open_store


class Counter:
    def __init__(self) -> None:
        self.total = self.read = 0

    def start(self, num_bytes: int) -> None:
        self.total = num_bytes

    def advance(self, num_bytes: int) -> None:
        self.read += num_bytes


def verify(writer, subject: str | None = None, **options) -> verification.Verification:
    return verification.verify(open_store(writer.connection), str(writer.root), subject, Counter(), **options)


def states(found: verification.Verification) -> dict[str, int]:
    return {name: count for name, count in found.to_json()["counts"].items() if count}


def run_command(writer, *arguments: str):
    from pipeline.lineage_cli.group import lineage_group

    return CliRunner().invoke(lineage_group, [*arguments, "--root", str(writer.root)])


def test_what_was_not_touched_is_as_recorded(root_writer):
    root_writer.record_run("run-1", pushed=True)
    root_writer.record_run("run-2")
    found = verify(root_writer)
    # Two times data, examples, model, evaluation, blessing and push, the data once, and the pushed folder.
    assert states(found) == {"ok": 12}
    assert found.is_as_recorded(strict=True)


def test_all_bytes_are_told_to_the_progress_bar(root_writer):
    root_writer.record_run("run-1", pushed=True)
    counter = Counter()
    verification.verify(open_store(root_writer.connection), str(root_writer.root), None, counter)
    assert counter.read == counter.total > 0


@pytest.mark.parametrize(
    ("change", "state", "detail"),
    [
        (lambda p: p.write_text("Trainer model X"), State.CHANGED, r"data: other bytes, same size|data: 15 bytes instead of \d+"),
        (lambda p: p.write_text(""), State.CHANGED, r"data: 0 bytes instead of \d+"),
        (lambda p: p.with_name("new").write_text("1"), State.CHANGED, r"new: not recorded \(1 bytes\)"),
        (lambda p: p.rename(p.with_name("new")), State.CHANGED, r"data: missing"),
        (lambda p: p.unlink(), State.MISSING, ""),
        (lambda p: shutil.rmtree(p.parent), State.MISSING, ""),
    ],
)  # fmt: skip
def test_what_was_touched_is_told(root_writer, change, state: State, detail: str):
    made = root_writer.record_run("run-1")
    change(Path(made["model"].uri) / "data")
    found = verify(root_writer)
    (check,) = found.wrong
    assert (check.state, check.artifact_id, check.kind) == (state, made["model"].id, "Model")
    assert not found.is_as_recorded(strict=False)
    if detail:
        assert any(re.search(detail, line) for line in check.details), check.details


def test_one_other_byte_is_told_from_another_size(root_writer):
    made = root_writer.record_run("run-1")
    path = Path(made["model"].uri) / "data"
    path.write_text(path.read_text()[:-1] + "x")
    (check,) = verify(root_writer).wrong
    assert check.details == (f"data: other bytes, same size ({path.stat().st_size} bytes)",)


@pytest.mark.parametrize("text", ["", None, "0 0 x\n"])
def test_a_list_of_files_that_was_changed_too_is_not_believed(root_writer, text: str | None):
    made = root_writer.record_run("run-1")
    manifest = Path(find_manifest(made["model"].uri))
    manifest.unlink() if text is None else manifest.write_text(text)
    assert states(verify(root_writer))["ok"], "the recorded hash is enough for what is in order"
    assert not verify(root_writer).wrong
    (Path(made["model"].uri) / "data").write_text("x")
    (check,) = verify(root_writer).wrong
    assert "not known" in check.details[0]


def test_a_pushed_folder_is_held_against_what_was_pushed(root_writer):
    made = root_writer.record_run("run-1", pushed=True)
    pushed = Path(made["pushed_model"].custom_properties["pushed_destination"].string_value)
    (pushed / "data").write_text("pushee")
    (check,) = verify(root_writer).wrong
    assert (check.place, check.state) == (str(pushed), State.CHANGED)
    shutil.rmtree(pushed)
    (check,) = verify(root_writer).wrong
    assert (check.place, check.state) == (str(pushed), State.MISSING)


def test_a_model_that_was_held_back_may_have_no_folder(root_writer):
    made = root_writer.record_run("run-1")
    shutil.rmtree(made["pushed_model"].uri)
    assert [check.kind for check in verify(root_writer).wrong] == ["PushedModel"], "it had a file"
    root_writer.start_run("run-2", "tiny")
    empty = root_writer.execution(
        "run-2", "tiny", "Pusher", {}, {"pushed_model": ("PushedModel", {"pushed": 0})}, recorded=False
    )
    from components.content import record_content

    shutil.rmtree(empty["pushed_model"].uri)
    record_content(empty["pushed_model"])
    root_writer.store.put_artifacts([empty["pushed_model"]])
    assert len(verify(root_writer).wrong) == 1


def test_without_a_hash_only_existence_is_checked(root_writer):
    root_writer.start_run("run-1", "tiny")
    made = root_writer.execution("run-1", "tiny", "Old", {}, {"model": ("Model", {})}, recorded=False)
    found = verify(root_writer)
    assert states(found) == {"unverifiable": 1}
    assert found.is_as_recorded(strict=False) and not found.is_as_recorded(strict=True)
    shutil.rmtree(made["model"].uri)
    assert states(verify(root_writer)) == {"missing": 1}


def test_a_folder_that_a_benchmark_has_registered_is_verified_by_its_push(root_writer):
    made = root_writer.record_run("run-1", pushed=True)
    artifact_type = root_writer.store.get_artifact_type("Model").id
    pushed = made["pushed_model"].custom_properties["pushed_destination"].string_value
    root_writer.store.put_artifacts([mlmd.Artifact(type_id=artifact_type, uri=pushed, state=mlmd.Artifact.LIVE)])
    assert "unverifiable" not in states(verify(root_writer))


def test_a_file_that_may_not_be_read_is_told(root_writer, monkeypatch: pytest.MonkeyPatch):
    from pipeline.lineage import contents

    made = root_writer.record_run("run-1")

    def fail(place: str, on_bytes):
        if place.startswith(made["model"].uri):
            raise PermissionError(13, "Permission denied")
        return original(place, on_bytes)

    original = contents.hash_file
    monkeypatch.setattr(contents, "hash_file", fail)
    (check,) = verify(root_writer).wrong
    assert check.state is State.UNREADABLE
    assert check.details == (f"{made['model'].uri}/data: Permission denied",)


class TestSourceData:
    def test_a_changed_row_is_told(self, root_writer):
        root_writer.record_run("run-1")
        root_writer.data.write_text("b row\n")
        (check,) = verify(root_writer).wrong
        assert (check.kind, check.place, check.state) == (SOURCE_DATA, str(root_writer.data), State.CHANGED)
        assert check.details == (f"{root_writer.data}: other bytes, same size (6 bytes)",)

    def test_missing_data_is_told(self, root_writer):
        root_writer.record_run("run-1")
        root_writer.data.unlink()
        (check,) = verify(root_writer).wrong
        assert (check.kind, check.state) == (SOURCE_DATA, State.MISSING)

    def test_data_that_have_grown_are_no_longer_those_of_the_first_run(self, root_writer):
        first = root_writer.record_run("run-1")
        root_writer.data.write_text("a row\nanother\n")
        second = root_writer.record_run("run-2")
        (check,) = verify(root_writer).wrong
        assert check.artifact_id == first["examples"].id
        assert any(f"artifact {second['examples'].id}" in line for line in check.details), check.details
        assert not verify(root_writer, second["model"].uri).wrong

    def test_data_can_be_left_out_and_asked_for_alone(self, root_writer):
        root_writer.record_run("run-1")
        root_writer.data.unlink()
        assert not verify(root_writer, with_data=False).wrong
        assert states(verify(root_writer, with_artifacts=False)) == {"missing": 1}

    def test_without_the_report_the_path_says_which_files(self, root_writer):
        made = root_writer.record_run("run-1")
        (Path(made["examples"].uri) / "ingest_report.json").unlink()
        assert [check.kind for check in verify(root_writer).wrong] == ["Examples"], (
            "the data themselves are as they were"
        )
        root_writer.data.write_text("x")
        assert SOURCE_DATA in [check.kind for check in verify(root_writer).wrong]

    def test_a_report_that_was_changed_is_not_believed(self, root_writer):
        made = root_writer.record_run("run-1")
        path = Path(made["examples"].uri) / "ingest_report.json"
        report = json.loads(path.read_text())
        other = root_writer.data.with_name("other.jsonl")
        other.write_text("other\n")
        report["files"][0] |= {"path": str(other), "sha256": hashlib.sha256(other.read_bytes()).hexdigest()}
        path.write_text(json.dumps(report))
        checks = {check.kind: check.state for check in verify(root_writer).checks}
        assert checks["Examples"] is State.CHANGED
        assert checks[SOURCE_DATA] is State.OK, "the recorded path says which files were read"

    @pytest.mark.parametrize("pattern", ["folder", "folder/", "folder/*.jsonl"])
    def test_several_files_of_several_spans(self, root_writer, tmp_path: Path, pattern: str):
        from components.example_gen.files import combine_hashes

        files, paths = [], []
        for span in ("1, 2", "3"):
            (tmp_path / span / "folder").mkdir(parents=True)
            paths.append(str(tmp_path / span / pattern))
            for name in ("a.jsonl", "b.jsonl"):
                path = tmp_path / span / "folder" / name
                path.write_text(f"{span} {name}\n")
                files.append({"path": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()})
        root_writer.start_run("run-1", "tiny")
        # A comma in the first span's name would be taken for the separator: the report has no such doubts, a path has.
        properties = {"data_path": paths[1], "data_sha256": combine_hashes(files[2:])}
        root_writer.execution("run-1", "tiny", "ExampleGen", {}, {"examples": ("Examples", properties)})
        assert not verify(root_writer).wrong
        Path(files[3]["path"]).write_text("x")
        (check,) = verify(root_writer).wrong
        assert check.kind == SOURCE_DATA

    def test_relative_paths_start_here(self, root_writer, monkeypatch: pytest.MonkeyPatch):
        root_writer.start_run("run-1", "tiny")
        sha256 = hashlib.sha256(root_writer.data.read_bytes()).hexdigest()
        outputs = {"examples": ("Examples", {"data_path": "data.jsonl", "data_sha256": sha256})}
        root_writer.execution("run-1", "tiny", "ExampleGen", {}, outputs)
        assert states(verify(root_writer)) == {"ok": 1, "missing": 1}
        monkeypatch.chdir(root_writer.data.parent)
        assert states(verify(root_writer)) == {"ok": 2}


class TestSubject:
    def test_a_model_is_verified_with_its_chain_alone(self, root_writer):
        first = root_writer.record_run("run-1", pushed=True)
        second = root_writer.record_run("run-2", pushed=True)
        (Path(first["model"].uri) / "data").write_text("x")
        assert not verify(root_writer, second["model"].uri).wrong
        for subject in (first["pushed_model"].uri, first["model"].uri, str(first["model"].id)):
            (check,) = verify(root_writer, subject).wrong
            assert check.artifact_id == first["model"].id
        kinds = {check.kind for check in verify(root_writer, second["pushed_model"].uri).checks}
        assert kinds == {"PushedModel", "Model", "ModelEvaluation", "ModelBlessing", "Examples", SOURCE_DATA}

    def test_a_run_is_verified_with_what_it_has_read(self, root_writer):
        first = root_writer.record_run("run-1")
        root_writer.record_run("run-2", reuse=first)
        (Path(first["examples"].uri) / "Split-train/data").write_text("x")
        (check,) = verify(root_writer, "run-2").wrong
        assert check.artifact_id == first["examples"].id

    def test_another_artifact_is_verified_with_what_it_was_made_from(self, root_writer):
        made = root_writer.record_run("run-1")
        (Path(made["model"].uri) / "data").write_text("x")
        assert not verify(root_writer, made["examples"].uri).wrong
        assert [c.kind for c in verify(root_writer, made["evaluation"].uri).wrong] == ["Model"]

    def test_an_unknown_one_is_told(self, root_writer):
        root_writer.record_run("run-1")
        with pytest.raises(UserError, match="knows no 'nothing'"):
            verify(root_writer, "nothing")


class TestOrphans:
    @pytest.mark.parametrize(
        ("state", "words"),
        [(mlmd.Execution.FAILED, "which is FAILED"), (mlmd.Execution.RUNNING, "whose run was killed")],
    )
    def test_what_a_killed_run_has_left_is_found(self, root_writer, state: int, words: str):
        root_writer.start_run("run-1", "tiny")
        root_writer.execution("run-1", "tiny", "Trainer", {}, {}, state=state)
        left = root_writer.root / "artifacts/tiny/Trainer/model/1"
        left.mkdir(parents=True)
        (left / "half").write_text("123")
        (orphan,) = verify(root_writer).orphans
        assert (orphan.place, orphan.num_bytes, orphan.num_files) == (str(left), 3, 1)
        assert orphan.reason == f"left by execution 1, {words}"

    @pytest.mark.parametrize(
        ("name", "reason"),
        [
            ("artifacts/other/Node/key/9/x", "no artifact"),
            ("artifacts/tiny/Trainer/.system/contents/99/model", "list of files"),
            ("artifacts/tiny/Trainer/.system/executor_execution/9/.temp/9/x", "working files"),
            ("artifacts/tiny/Trainer/.system/stateful_working_dir/run-9/x", "working files"),
            ("serving/tiny/17/saved_model.pb", "no artifact"),
            ("serving/tiny/.incoming/17/x", "no artifact"),
            ("checkpoints/tiny/abc/step.npz", "a training that has not ended"),
            ("logs/tiny/run-9/run.log", "no run"),
            ("reports/tiny/run-9.tokens.html", "no run"),
        ],
    )
    def test_each_folder_of_a_root_is_looked_through(self, root_writer, name: str, reason: str):
        root_writer.record_run("run-1", pushed=True)
        path = root_writer.root / name
        path.parent.mkdir(parents=True)
        path.write_text("x")
        os.utime(path, (1, 1))
        (orphan,) = verify(root_writer).orphans
        assert path.is_relative_to(orphan.place)
        assert reason in orphan.reason

    def test_a_folder_that_may_not_be_read_ends_nothing(self, root_writer, close_folder):
        made = root_writer.record_run("run-1")
        for name in ("other/Node/key/9", "tiny/Node/key/9/closed"):
            (root_writer.root / "artifacts" / name).mkdir(parents=True)
        (root_writer.root / "artifacts/tiny/Node/key/9/seen").write_text("x")
        model = Path(made["model"].uri)
        (model / "closed").mkdir()
        for folder in (
            root_writer.root / "artifacts/other",
            root_writer.root / "artifacts/tiny/Node/key/9/closed",
            model / "closed",
        ):
            close_folder(folder)
        found = verify(root_writer)
        (check,) = found.wrong
        assert (check.place, check.state) == (str(model), State.UNREADABLE)
        assert {orphan.place.removeprefix(f"{root_writer.root}/"): orphan.reason for orphan in found.orphans} == {
            name: f"what is in {root_writer.root}/{closed} is not known: Permission denied"
            for name, closed in (
                ("artifacts/other", "artifacts/other"),
                ("artifacts/tiny/Node/key/9", "artifacts/tiny/Node/key/9/closed"),
            )
        }

    def test_a_version_that_a_killed_push_has_not_recorded_is_known_all_the_same(self, root_writer):
        made = root_writer.record_run("run-1", pushed=True)
        folder = root_writer.root / "serving/tiny/1790000000"
        write_mark(str(folder), {"model": made["model"].uri, "pushed_model": "gone"})
        (folder / "saved_model.pb").write_text("x")
        (root_writer.root / "serving/tiny/.incoming").mkdir()
        (root_writer.root / "serving/tiny/.incoming/.lock").touch()
        (orphan,) = verify(root_writer).orphans
        assert orphan.place == str(folder)
        assert (
            orphan.reason == f"pushed from {made['model'].uri} by a process that was killed before it could record that"
        )
        for place in (folder, folder / "saved_model.pb"):
            assert find_by_path(root_writer.store, str(place))[0].id == made["model"].id
        assert find_by_path(root_writer.store, str(folder.parent / "17")) == []

    @pytest.mark.parametrize(
        "name", ["quarantine/tiny/x", "judgements/x", "mine/x", "metadata.sqlite.lock", "reports/tiny/run-1.html"]
    )
    def test_other_folders_are_left_alone(self, root_writer, name: str):
        root_writer.record_run("run-1")
        path = root_writer.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
        assert verify(root_writer).orphans == ()

    def test_what_a_run_still_writes_is_none(self, root_writer):
        root_writer.record_run("run-1")
        root_writer.start_run("run-2", "tiny", process=describe_process())
        root_writer.execution("run-2", "tiny", "Trainer", {}, {}, state=mlmd.Execution.RUNNING)
        newest = max(e.id for e in root_writer.store.get_executions())
        for name in (
            f"artifacts/tiny/Trainer/model/{newest}/x",
            "checkpoints/tiny/abc/x",
            "serving/tiny/.incoming/1/x",
        ):
            path = root_writer.root / name
            path.parent.mkdir(parents=True)
            path.write_text("x")
        assert verify(root_writer).orphans == ()

    def test_orphans_fail_only_strictly(self, root_writer):
        root_writer.record_run("run-1")
        (root_writer.root / "serving/tiny/1").mkdir(parents=True)
        (root_writer.root / "serving/tiny/1/x").write_text("x")
        assert run_command(root_writer, "verify").exit_code == 0
        assert run_command(root_writer, "verify", "--strict").exit_code == exit_codes.NOT_AS_RECORDED


class TestCommand:
    def test_the_exit_code_tells(self, root_writer):
        made = root_writer.record_run("run-1", pushed=True)
        assert run_command(root_writer, "verify").exit_code == 0
        (Path(made["model"].uri) / "data").write_text("x")
        result = run_command(root_writer, "verify")
        assert result.exit_code == exit_codes.NOT_AS_RECORDED == 4
        assert "changed" in result.stdout and "artifacts/tiny/Trainer/model/" in result.stdout

    def test_json_holds_all(self, root_writer):
        made = root_writer.record_run("run-1", pushed=True)
        told = json.loads(run_command(root_writer, "verify", "--json").stdout)
        assert told["counts"]["ok"] == len(told["checks"]) == 7
        model = next(check for check in told["checks"] if check["artifact_id"] == made["model"].id)
        assert model["state"] == "ok"
        assert model["recorded_sha256"] == model["found_sha256"]

    def test_all_shows_what_is_in_order(self, root_writer):
        made = root_writer.record_run("run-1")
        place = made["model"].uri.removeprefix(f"{root_writer.root}/")
        assert place not in run_command(root_writer, "verify").stdout
        assert place in run_command(root_writer, "verify", "--all").stdout
