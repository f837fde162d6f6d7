"""Pushing makes a version visible as a whole, or not at all."""

import pytest
from tfx.proto import pusher_pb2
from tfx.types import standard_artifacts
from tfx.utils import io_utils, proto_utils

from components.pusher.component import Executor


def push(folder, blessed):
    model, blessing, pushed = (
        standard_artifacts.Model(),
        standard_artifacts.ModelBlessing(),
        standard_artifacts.PushedModel(),
    )
    model.uri, pushed.uri = str(folder / "model"), str(folder / "pushed")
    for name in ("saved_model.pb", "variables/variables.index"):
        path = folder / "model" / "Format-Serving" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    blessing.set_int_custom_property("blessed", int(blessed))
    destination = pusher_pb2.PushDestination(
        filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=str(folder / "serving"))
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
    assert {p.name for p in version.rglob("*") if p.is_file()} == {"saved_model.pb", "variables.index"}


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
