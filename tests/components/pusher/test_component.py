"""Pushing makes a version visible as a whole, or not at all."""

import re
from pathlib import Path

import pytest
from tfx.dsl.io import fileio
from tfx.proto import pusher_pb2
from tfx.types import standard_artifacts
from tfx.utils import io_utils, proto_utils

from components.pusher.component import Executor

FILES = ("saved_model.pb", "variables/variables.index", "zz.pb")


def push(folder, blessed, more=()):
    model, blessing, pushed = (
        standard_artifacts.Model(),
        standard_artifacts.ModelBlessing(),
        standard_artifacts.PushedModel(),
    )
    model.uri, pushed.uri = f"{folder}/model", f"{folder}/pushed"
    for name in FILES:
        io_utils.write_string_file(f"{folder}/model/Format-Serving/{name}", name)
    for name in more:
        io_utils.write_string_file(f"{folder}/model/{name}", name)
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


def test_a_blessed_model_is_pushed_under_a_number(tmp_path):
    pushed = push(tmp_path, blessed=True)
    (version,) = (tmp_path / "serving").iterdir()
    assert version.name.isdigit()
    assert pushed.get_string_custom_property("pushed_destination") == str(version)
    assert pushed.get_string_custom_property("pushed_version") == version.name
    assert {p.name for p in version.rglob("*") if p.is_file()} == {"saved_model.pb", "variables.index", "zz.pb"}


def test_what_the_run_asked_for_beside_the_saved_model_goes_with_it(tmp_path):
    more = ("hf/config.json", "hf/model.safetensors", "preset/config.json", "training_record.json")
    pushed = push(tmp_path, blessed=True, more=more)
    (version,) = (tmp_path / "serving").iterdir()
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
    assert not [p for p in (tmp_path / "serving").iterdir() if p.name.isdigit()]
    monkeypatch.undo()
    push(tmp_path, blessed=True)
    assert [p.name.isdigit() for p in (tmp_path / "serving").iterdir()] == [True]


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
    names = ("variables/variables.index", "zz.pb", "saved_model.pb")
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
    assert list_versions(bucket) == [".incoming"]
    push(bucket.url, blessed=True)
    (version,) = list_versions(bucket)
    assert version.isdigit()


def test_half_a_version_in_a_bucket_goes_with_the_next_push(bucket):
    """A process that is killed cannot tidy up. What other processes have put there is not touched."""
    killed = ("17/variables/variables.index", ".incoming/17/saved_model.pb", ".incoming/18/zz.pb")
    for name in (*killed, "18/saved_model.pb", "19/other.file"):
        io_utils.write_string_file(f"{bucket.url}/serving/{name}", "x")
    pushed = push(bucket.url, blessed=True).get_string_custom_property("pushed_version")
    assert list_versions(bucket) == sorted(["18", "19", pushed])
