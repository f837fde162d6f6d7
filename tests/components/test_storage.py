import os
import stat
from pathlib import Path
from types import SimpleNamespace

import pytest
import tensorflow as tf

from components import storage
from components.content import read_content


def test_files_are_listed_by_name_with_their_sizes(tmp_path: Path):
    (tmp_path / "b/.c").mkdir(parents=True)
    (tmp_path / "b/.c/d").write_text("12")
    (tmp_path / "a").write_text("1")
    found = [(file.name, file.size) for file in storage.list_files(f"{tmp_path}/")]
    assert found == [("a", 1), ("b/.c/d", 2)]
    assert [storage.join(str(tmp_path), name) for name, _ in found] == [f"{tmp_path}/a", f"{tmp_path}/b/.c/d"]


def test_a_file_is_the_only_one_of_itself(tmp_path: Path):
    (tmp_path / "a").write_text("1")
    (file,) = storage.list_files(str(tmp_path / "a"))
    assert storage.join(str(tmp_path / "a"), file.name) == str(tmp_path / "a")


def test_what_is_not_there_is_an_error(tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        storage.list_files(str(tmp_path / "a"))


def test_a_folder_is_removed_and_what_its_links_lead_to_stays(tmp_path: Path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other/x").write_text("1")
    (tmp_path / "a/b").mkdir(parents=True)
    os.symlink(tmp_path / "other", tmp_path / "a/b/link")
    storage.remove(str(tmp_path / "a"))
    storage.remove(str(tmp_path / "a"))
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["other", "x"]
    os.symlink(tmp_path / "other", tmp_path / "link")
    storage.remove(str(tmp_path / "link"))
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["other", "x"]


def test_text_is_written_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    place = tmp_path / "a/b"
    storage.write_text(str(place), "ü")
    assert storage.read_text(str(place)) == "ü"

    def fail(*_: object) -> None:
        raise OSError("no space")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no space"):
        storage.write_text(str(place), "other")
    assert storage.read_text(str(place)) == "ü"
    assert [p.name for p in place.parent.iterdir()] == ["b"]


def test_hidden_files_match_patterns(tmp_path: Path):
    (tmp_path / ".a").touch()
    assert storage.find_files(f"{tmp_path}/*") == [f"{tmp_path}/.a"]


def test_a_bucket_is_read_and_written_as_a_folder(bucket):
    url = f"{bucket.url}/root"
    storage.write_text(f"{url}/a/x", "1")
    storage.write_text(f"{url}/a/b/y", "ü")
    storage.write_text(f"{url}/a-b/z", "1")
    assert [(file.name, file.size) for file in storage.list_files(f"{url}/a/")] == [("b/y", 2), ("x", 1)]
    (file,) = storage.list_files(f"{url}/a/x")
    assert storage.join(f"{url}/a/x", file.name) == f"{url}/a/x" and file.changed_at > 0
    assert storage.read_text(f"{url}/a/b/y") == "ü"
    assert storage.find_files(f"{url}/a/*") == [f"{url}/a/b", f"{url}/a/x"]
    storage.remove(f"{url}/a")
    storage.remove(f"{url}/a")
    storage.remove(f"{url}/a-b/z")
    assert not storage.exists(f"{url}/a/x") and not storage.exists(f"{url}/a-b/z")


@pytest.mark.parametrize("read", [storage.list_files, storage.read_text])
def test_what_is_not_in_a_bucket_is_the_error_of_a_local_file(bucket, read):
    with pytest.raises(FileNotFoundError):
        read(f"{bucket.url}/nothing")


def test_a_hash_is_the_same_in_a_bucket(bucket, tmp_path: Path):
    for root in (bucket.url, str(tmp_path)):
        storage.write_text(f"{root}/a/x", "1")
        storage.write_text(f"{root}/a/b/y", "2")
    assert read_content(f"{bucket.url}/a") == read_content(str(tmp_path / "a"))


@pytest.mark.parametrize("ask", [storage.exists, storage.is_folder, storage.find_files])
def test_a_bucket_that_cannot_be_asked_is_the_error_of_a_local_file(ask, monkeypatch):
    def refuse(*_):
        raise tf.errors.PermissionDeniedError(None, None, "403: no access")

    refusing = SimpleNamespace(exists=refuse, isdir=refuse, glob=refuse)
    monkeypatch.setattr(storage, "_gfile", lambda: refusing)
    with pytest.raises(OSError, match="403: no access"):
        ask("gs://bucket/x")


def test_a_link_that_leads_to_nothing_hides_nothing(tmp_path: Path):
    (tmp_path / "a").write_text("1")
    (tmp_path / "gone").symlink_to("nothing")
    (tmp_path / "loop").symlink_to("loop")
    assert [file.name for file in storage.list_files(str(tmp_path))] == ["a", "gone", "loop"]


def test_what_is_no_file_is_not_waited_for(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="no regular file"):
        list(storage.read_blocks(str(tmp_path / "pipe")))


def test_a_device_stays_a_device(tmp_path: Path):
    storage.write_text("/dev/null", "x")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    (tmp_path / "link").symlink_to("/dev/null")
    with storage.whole_file(tmp_path / "link") as stream:
        stream.write(b"x")
    assert (tmp_path / "link").is_symlink()


def test_a_link_to_a_file_stays_one(tmp_path: Path):
    (tmp_path / "a").write_text("before")
    (tmp_path / "link").symlink_to("a")
    storage.write_text(str(tmp_path / "link"), "after")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "a").read_text() == "after"


def test_a_file_that_is_not_finished_is_not_there(tmp_path: Path):
    path = tmp_path / "a"
    path.write_text("before")

    def fail() -> None:
        with storage.whole_file(path) as stream:
            stream.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_text() == "before"
    assert [other.name for other in tmp_path.iterdir()] == ["a"]
