"""Pushing makes a version visible as a whole, or not at all."""

import json
import re
import shutil
import subprocess
import sys
import threading
import time
import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tfx.dsl.io import fileio
from tfx.proto import pusher_pb2
from tfx.types import standard_artifacts
from tfx.utils import io_utils, proto_utils

from components import storage
from components.content import read_content, record_content
from components.errors import UserError
from components.pusher import versions
from components.pusher.component import Pusher

Executor = Pusher.EXECUTOR_SPEC.executor_class
MODEL = ("saved_model.pb", "variables/variables.index", "zz.pb")
FILES = (versions.MARK, *MODEL)


def push(folder, blessed, more=(), output="pushed"):
    model, blessing, pushed = (
        standard_artifacts.Model(),
        standard_artifacts.ModelBlessing(),
        standard_artifacts.PushedModel(),
    )
    model.uri, pushed.uri = f"{folder}/model", f"{folder}/{output}"
    for file, text in {
        **{f"Format-Serving/{name}": name for name in MODEL},
        **dict(zip(more, more, strict=True)),
    }.items():
        io_utils.write_string_file(f"{folder}/model/{file}", text)
    blessing.set_int_custom_property("blessed", int(blessed))
    destination = pusher_pb2.PushDestination(
        filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=f"{folder}/serving")
    )
    Executor().Do(
        {"model": [model], "model_blessing": [blessing]},
        {"pushed_model": [pushed]},
        {"push_destination": proto_utils.proto_to_json(destination)},
    )
    return pushed


def list_served(folder):
    """The versions, and nothing else that a server would see."""
    served = [path for path in (folder / "serving").iterdir() if not path.name.startswith(".")]
    assert all(path.name.isdigit() for path in served)
    return sorted(served, key=lambda path: int(path.name))


def test_a_blessed_model_is_pushed_under_a_number(tmp_path):
    pushed = push(tmp_path, blessed=True)
    (version,) = list_served(tmp_path)
    assert pushed.get_string_custom_property("pushed_destination") == str(version)
    assert pushed.get_string_custom_property("pushed_version") == version.name
    assert sorted(p.relative_to(version).as_posix() for p in version.rglob("*") if p.is_file()) == sorted(FILES)
    mark = {"model": f"{tmp_path}/model", "model_sha256": "", "pushed_model": f"{tmp_path}/pushed"}
    assert versions.read_mark(str(version)) == versions.read_mark(pushed.uri) == mark
    assert [path.name for path in (tmp_path / "serving" / ".incoming").iterdir()] == [".lock"]


def test_what_the_run_asked_for_beside_the_saved_model_goes_with_it(tmp_path):
    more = ("hf/config.json", "hf/model.safetensors", "preset/config.json", "training_record.json")
    pushed = push(tmp_path, blessed=True, more=more)
    (version,) = list_served(tmp_path)
    expected = sorted([*FILES, "hf/config.json", "hf/model.safetensors"])
    # What is recorded of the artifact's own folder is compared with the served one.
    for folder in (version, Path(pushed.uri)):
        assert sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()) == expected


def test_in_a_bucket_it_comes_before_saved_model_pb(bucket):
    push(bucket.url, blessed=True, more=("hf/config.json",))
    (version,) = list_versions(bucket)
    assert bucket.list_files(f"serving/{version}/") == sorted([*FILES, "hf/config.json"])
    written = [name for kind, name in bucket.list_history() if kind == "write" and re.match(r"serving/\d", name)]
    assert written[-1] == f"serving/{version}/saved_model.pb"


def test_a_refused_model_is_not(tmp_path):
    pushed = push(tmp_path, blessed=False)
    assert pushed.get_int_custom_property("pushed") == 0
    assert not (tmp_path / "serving").exists()


def test_a_crash_in_the_middle_leaves_no_version(tmp_path, monkeypatch):
    def crash(*_args, **_options):
        raise OSError("disk full")

    monkeypatch.setattr(io_utils, "copy_file", crash)
    with pytest.raises(OSError, match="disk full"):
        push(tmp_path, blessed=True)
    assert list_served(tmp_path) == []
    monkeypatch.undo()
    push(tmp_path, blessed=True)
    assert len(list_served(tmp_path)) == 1


def list_versions(bucket):
    return sorted({name.partition("/")[0] for name in bucket.list_files("serving/")})


def test_a_version_in_a_bucket_gets_saved_model_pb_last(bucket):
    pushed = push(bucket.url, blessed=True)
    (version,) = list_versions(bucket)
    assert version.isdigit()
    assert pushed.get_string_custom_property("pushed_destination") == f"{bucket.url}/serving/{version}"
    assert bucket.list_files(f"serving/{version}/") == sorted(FILES)
    # A server that lists the folder sees nothing under a number but the files themselves, and the one it needs comes last.
    under_numbers = [change for change in bucket.list_history() if re.match(r"serving/\d", change[1])]
    names = (versions.MARK, "variables/variables.index", "zz.pb", "saved_model.pb")
    assert under_numbers == [("write", f"serving/{version}/{name}") for name in names]
    with fileio.open(f"{bucket.url}/serving/{version}/variables/variables.index") as file:
        assert file.read() == "variables/variables.index"


def test_an_error_in_a_bucket_leaves_no_version(bucket, monkeypatch):
    rename = fileio.rename

    def crash(source, target, overwrite=False):
        if target.endswith("zz.pb"):
            raise OSError("the network is down")
        rename(source, target, overwrite)

    with monkeypatch.context() as patch:
        patch.setattr(fileio, "rename", crash)
        with pytest.raises(OSError, match="the network is down"):
            push(bucket.url, blessed=True)
    assert list_versions(bucket) == []
    push(bucket.url, blessed=True)
    (version,) = list_versions(bucket)
    assert version.isdigit()


def test_pushes_into_a_bucket_in_one_second_take_two_numbers(bucket, monkeypatch):
    """A bucket has no locks: each push sees what number the other has chosen, and one of two that are the same gives way."""
    monkeypatch.setattr(versions, "_LONGEST_PAUSE_SECONDS", 0.1)
    second = time.time()
    monkeypatch.setattr(versions, "time", types.SimpleNamespace(time=lambda: second, sleep=time.sleep))
    choose, together = versions._choose_version, threading.Barrier(4)
    chosen = []

    def choose_together(*arguments):
        version = choose(*arguments)
        chosen.append(version)
        if len(chosen) <= 4:
            together.wait(60)
        return version

    def place(name):
        with versions.staging_folder(f"{bucket.url}/serving") as staging:
            for file in MODEL:
                io_utils.write_string_file(f"{staging}/1/{file}", name)
            versions.write_mark(f"{staging}/1", {"pushed_model": name})
            return versions.place_version(f"{bucket.url}/serving", staging, f"{staging}/1")

    monkeypatch.setattr(versions, "_choose_version", choose_together)
    with ThreadPoolExecutor(4) as pool:
        placed = dict(zip("abcd", pool.map(place, "abcd"), strict=True))
    assert set(chosen[:4]) == {int(second)}
    assert len(set(placed.values())) == 4
    for name, version in placed.items():
        assert versions.read_mark(f"{bucket.url}/serving/{version}") == {"pushed_model": name}
        for file in MODEL:
            assert storage.read_text(f"{bucket.url}/serving/{version}/{file}") == name


def test_half_a_version_in_a_bucket_goes_a_day_later(bucket, monkeypatch):
    """A process that is killed cannot tidy up. What other processes have put there is not touched."""
    killed = {"17/variables/variables.index": "x", ".incoming/a/version": "17", ".incoming/a/1/saved_model.pb": "x"}
    others = {"18/saved_model.pb": "x", "19/other.file": "x", ".incoming/b/version": "18", ".incoming/b/2/zz.pb": "x"}
    for name, text in (killed | others).items():
        io_utils.write_string_file(f"{bucket.url}/serving/{name}", text)
    first = push(bucket.url, blessed=True).get_string_custom_property("pushed_version")
    assert list_versions(bucket) == sorted([".incoming", "17", "18", "19", first])
    monkeypatch.setattr(versions, "_ABANDONED_SECONDS", -1)
    second = push(bucket.url, blessed=True, output="again").get_string_custom_property("pushed_version")
    assert list_versions(bucket) == sorted(["18", "19", first, second])


def test_a_version_is_never_lower_than_one_before(tmp_path, monkeypatch, capfd):
    """A server takes the highest: a clock that goes back, or stands still, must not leave an older model in service."""
    monkeypatch.delenv("PIPELINE_CONSOLE_FD", raising=False)
    seconds = iter([2_000_000_000.0, 2_000_000_000.0, 1_000_000_000.0, 2_000_000_500.0])
    monkeypatch.setattr(versions, "time", types.SimpleNamespace(time=lambda: next(seconds)))
    monkeypatch.setattr("tfx.components.pusher.executor.time", types.SimpleNamespace(time=lambda: 1.0))
    names = [push(tmp_path, True, output=f"p{i}").get_string_custom_property("pushed_version") for i in range(4)]
    assert names == ["2000000000", "2000000001", "2000000002", "2000000500"]
    assert [path.name for path in list_served(tmp_path)] == names
    told = capfd.readouterr().err
    assert "serving, 2000000001, is not older than this machine's clock, 1000000000: the new one is 2000000002." in told


def test_an_execution_that_is_taken_over_finds_its_own_version(tmp_path):
    """It was killed after the version had appeared, and before that was recorded."""
    first, other, again = (push(tmp_path, True, output=name) for name in ("1", "2", "1"))
    pushed = [one.get_string_custom_property("pushed_destination") for one in (first, other, again)]
    assert pushed[0] == pushed[2] != pushed[1]
    assert len(list_served(tmp_path)) == 2


@pytest.mark.parametrize(
    ("file", "text", "problem"),
    [
        ("Format-Serving/zz.pb", "zz.pB", "zz.pb has other content"),
        ("Format-Serving/zz.pb", "zz", "zz.pb has 2 bytes instead of 5"),
        ("Format-Serving/new", "x", "new was added"),
        ("hf/config.json", None, "hf/config.json is missing"),
    ],
)
def test_what_is_not_the_model_that_was_evaluated_is_not_pushed(tmp_path, monkeypatch, file, text, problem):
    copy = Executor.Do

    def push_after(change):
        record = standard_artifacts.Model()
        record.uri = f"{tmp_path}/model"

        def do(self, inputs, outputs, properties):
            (model,) = inputs["model"]
            record_content(model.mlmd_artifact)
            change()
            copy(self, inputs, outputs, properties)

        with monkeypatch.context() as patch:
            patch.setattr(Executor, "Do", do)
            return push(tmp_path, True, more=("hf/config.json",))

    path = tmp_path / "model" / file
    with pytest.raises(UserError, match=f"must be the model that was evaluated.* Received: {re.escape(problem)}"):
        push_after(lambda: path.unlink() if text is None else path.write_text(text))
    assert list_served(tmp_path) == []
    path.unlink(missing_ok=True)
    pushed = push_after(lambda: None)
    assert len(versions.read_mark(pushed.uri)["model_sha256"]) == 64


@pytest.mark.parametrize(
    ("pushes", "kills", "megabytes"), [(8, 2, 1), pytest.param(50, 10, 40, marks=pytest.mark.slow)]
)
def test_pushes_at_the_same_time_give_whole_versions(tmp_path, pushes, kills, megabytes):
    """Each in a process of its own; some are killed at a random moment."""
    script = Path(__file__).with_name("concurrent_pushes.py")
    options = ["--pushes", str(pushes), "--kills", str(kills), "--megabytes", str(megabytes)]
    done = subprocess.run([sys.executable, script, tmp_path, *options], stdout=subprocess.PIPE, check=True)
    ended = json.loads(done.stdout)
    assert len(ended) >= pushes - kills
    served = list_served(tmp_path)
    marks = [versions.read_mark(str(version))["pushed_model"] for version in served]
    assert len(set(marks)) == len(marks), "no push gives two versions"
    assert {f"{tmp_path}/pushed/{number}" for number in ended} <= set(marks)
    model = tmp_path / "model/Trainer/model/1/Format-Serving"
    expected = {file.name: file.sha256 for file in read_content(str(model)).files}
    for version in served:
        found = {file.name: file.sha256 for file in read_content(str(version)).files if file.name != versions.MARK}
        assert found == expected
    with versions.staging_folder(f"{tmp_path}/serving"):
        pass
    assert [path.name for path in (tmp_path / "serving" / ".incoming").iterdir()] == [".lock"]


def test_what_no_server_takes_for_a_version_is_none(tmp_path):
    for name in ("9" * 20, str(2**63), "\u00b2"):
        (tmp_path / "serving" / name).mkdir(parents=True)
    pushed = push(tmp_path, blessed=True)
    assert int(pushed.get_string_custom_property("pushed_version")) < 2**40
    (tmp_path / "serving" / str(2**63 - 1)).mkdir()  # the last one that there is
    with pytest.raises(UserError, match="no higher version than 9223372036854775807"):
        push(tmp_path, blessed=True, output="again")


def test_a_staging_folder_that_stays_does_not_fail_the_push(tmp_path, monkeypatch):
    """As on network file systems, where a file that is open keeps its folder."""
    remove, owners = versions.storage.remove, []

    def refuse(place):
        owners.append(versions.is_abandoned(place))
        raise OSError(39, "Directory not empty", place)

    monkeypatch.setattr(versions.storage, "remove", refuse)
    push(tmp_path, blessed=True)
    assert owners == [True]  # its owner's file was closed by then
    monkeypatch.setattr(versions.storage, "remove", remove)
    push(tmp_path, blessed=True, output="again")
    assert [path.name for path in (tmp_path / "serving" / versions.STAGING).iterdir() if path.is_dir()] == []
    assert len(list_served(tmp_path)) == 2


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 100_000,
        b"{" + b'"a": 1,' * 100_000,
        b'{"model": "a\\u0000b"}',
        b'{"model": "\\ud800"}',
        b'{"model": 1}',
        b'{"model": "' + b"a" * 70_000 + b'"}',
        b"[]",
        b"\xff",
    ],
)
def test_a_mark_that_nobody_has_written_is_none(tmp_path, content):
    path = tmp_path / versions.MARK
    path.parent.mkdir()
    path.write_bytes(content)
    assert versions.read_mark(str(tmp_path)) is None


def test_the_highest_version_is_in_service(tmp_path):
    first = push(tmp_path, blessed=True)
    place, version = (first.get_string_custom_property(name) for name in ("pushed_destination", "pushed_version"))
    assert versions.is_in_service(place, version)
    push(tmp_path, blessed=True, output="second")
    assert not versions.is_in_service(place, version)
    shutil.rmtree(list_served(tmp_path)[-1])
    assert versions.is_in_service(place, version)
    (Path(place) / "saved_model.pb").unlink()
    assert not versions.is_in_service(place, version)
    shutil.rmtree(place)
    assert not versions.is_in_service(place, version)
    assert versions.is_in_service("projects/1/locations/x/endpoints/2", "models/3")
