"""Output directories: whole or absent on a disk, complete with their last file in a bucket."""

import errno
import os
from pathlib import Path

import pytest
import tensorflow as tf

from components.trainer import directories


def test_directory_is_whole_or_absent(tmp_path):
    target = tmp_path / "a" / "b"
    with pytest.raises(RuntimeError), directories.whole_directory(str(target), last="whole") as local:
        (tmp_path / "a" / local / "half").write_text("x")
        raise RuntimeError
    assert list((tmp_path / "a").iterdir()) == []
    target.mkdir()  # empty, as TFX makes them
    with directories.whole_directory(str(target), last="whole") as local:
        (tmp_path / "a" / local / "whole").write_text("x")
    assert [p.name for p in target.iterdir()] == ["whole"]
    with pytest.raises(FileExistsError), directories.whole_directory(str(target), last="whole"):
        pass


@pytest.mark.parametrize("is_there", [True, False])
def test_a_link_stays_and_leads_to_what_is_written(tmp_path, is_there):
    target, link = tmp_path / "disk" / "out", tmp_path / "link"
    target.parent.mkdir()
    if is_there:
        target.mkdir()
    link.symlink_to(target)
    with directories.whole_directory(str(link), last="whole") as local:
        assert Path(local).parent == target.parent
        Path(local, "whole").write_text("x")
    assert link.is_symlink() and (target / "whole").read_text() == "x"
    assert not directories.is_absent_or_empty(link)


@pytest.fixture(params=["mounted", "mounted on itself", "closed parent", "another device"])
def fixed(request, tmp_path, monkeypatch):
    """An empty directory in whose place none can be put."""
    target = tmp_path / "out"
    target.mkdir()
    if request.param == "mounted":
        (target / "lost+found").mkdir()
        monkeypatch.setattr(os.path, "ismount", lambda path: Path(path) == target)
    if request.param == "closed parent":
        monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    number = errno.EXDEV if request.param == "another device" else errno.EBUSY

    def refuse(self, other):
        raise OSError(number, os.strerror(number), str(self), None, str(other))

    monkeypatch.setattr(Path, "replace", refuse)
    return target


def test_a_mounted_directory_is_written_to_with_its_last_file_at_the_end(fixed, monkeypatch):
    move, order = directories.shutil.move, []
    monkeypatch.setattr(directories.shutil, "move", lambda a, b: (order.append(Path(b).name), move(a, b)))
    with directories.whole_directory(str(fixed), last="saved_model.pb") as local:
        write(local)
    assert order == ["a.pb", "variables", "zz", "saved_model.pb"]
    assert {path.name for path in fixed.iterdir()} - {"lost+found"} == set(order)
    assert (fixed / "variables" / "z").read_text() == "variables/z"
    assert [path.name for path in fixed.parent.iterdir()] == ["out"]
    with pytest.raises(FileExistsError), directories.whole_directory(str(fixed), last="x"):
        pass


def test_nothing_stays_in_a_mounted_directory_behind_an_error(fixed, monkeypatch):
    before = sorted(fixed.iterdir())
    move = directories.shutil.move

    def fail(source, target):
        if Path(target).name == "zz":
            raise OSError(errno.ENOSPC, "No space left on device")
        move(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(directories.shutil, "move", fail)
        with pytest.raises(OSError, match="No space"), directories.whole_directory(str(fixed), last="x") as local:
            write(local)
    assert sorted(fixed.iterdir()) == before
    assert [path.name for path in fixed.parent.iterdir()] == ["out"]


def test_one_works_in_a_local_directory_itself(tmp_path):
    with directories.work_directory(str(tmp_path), last="whole") as local:
        assert local == str(tmp_path)


def write(local):
    for name in ("a.pb", "variables/saved_model.pb", "variables/z", "saved_model.pb", "zz"):
        path = Path(local, name)
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)


@pytest.mark.parametrize("directory", [directories.whole_directory, directories.work_directory])
def test_directory_in_a_bucket_gets_its_last_file_last(bucket, directory):
    target = f"{bucket.url}/model/1"
    tf.io.gfile.makedirs(target)  # as TFX makes them
    with pytest.raises(RuntimeError), directory(target, last="saved_model.pb") as local:
        write(local)
        raise RuntimeError
    assert bucket.list_files() == []
    with directory(target, last="saved_model.pb") as local:
        write(local)
    assert not Path(local).exists()
    files = ["a.pb", "saved_model.pb", "variables/saved_model.pb", "variables/z", "zz"]
    assert bucket.list_files("model/1/") == files
    assert [name for _, name in bucket.list_history()][-1] == "model/1/saved_model.pb"
    with tf.io.gfile.GFile(f"{target}/variables/z") as file:
        assert file.read() == "variables/z"
    with pytest.raises(FileExistsError), directory(target, last="saved_model.pb") as local:
        write(local)


def test_what_an_interrupted_upload_has_left_makes_way(bucket, monkeypatch):
    target = f"{bucket.url}/model"
    copy = tf.io.gfile.copy

    def fail(source, remote):
        if remote.endswith("zz"):
            raise OSError("the network is down")
        copy(source, remote)

    with monkeypatch.context() as patch:
        patch.setattr(tf.io.gfile, "copy", fail)
        with (
            pytest.raises(OSError, match="the network"),
            directories.whole_directory(target, "saved_model.pb") as local,
        ):
            write(local)
    assert bucket.list_files("model/") == ["a.pb", "variables/saved_model.pb", "variables/z"]
    with directories.whole_directory(target, last="saved_model.pb") as local:
        Path(local, "saved_model.pb").write_text("x")
    assert bucket.list_files("model/") == ["saved_model.pb"]


def test_nothing_written_is_nothing_uploaded(bucket):
    """As of a worker that is not the chief, when the chief has finished already."""
    with directories.work_directory(f"{bucket.url}/model", last="record") as local:
        Path(local, "record").write_text("the chief's")
    with directories.work_directory(f"{bucket.url}/model", last="record"):
        pass
    assert bucket.list_files() == ["model/record"]
