import os
import socket

import pytest

from components.errors import UserError
from components.example_gen.files import (
    describe_links,
    detect_format,
    hash_files,
    join_path,
    list_files,
    split_path,
)


@pytest.fixture
def folder(tmp_path):
    for name in ("a.jsonl", "b.json.gz", "c.csv", "d.parquet", "README.md", ".hidden.csv", "odd[1]*.json"):
        (tmp_path / name).write_text("x")
    (tmp_path / "sub.csv").mkdir()
    return tmp_path


def listed(path, format_name="auto"):
    return [(f.path.rpartition("/")[2], f.format) for f in list_files(*split_path(str(path)), format_name)]


def test_a_folder_means_its_data_files(folder):
    expected = [
        ("a.jsonl", "jsonl"),
        ("b.json.gz", "json"),
        ("c.csv", "csv"),
        ("d.parquet", "parquet"),
        ("odd[1]*.json", "json"),
    ]
    assert listed(folder) == listed(f"{folder}/") == expected
    assert listed(folder, "json") == [("b.json.gz", "json"), ("odd[1]*.json", "json")]


def test_a_file_and_a_glob_mean_what_they_name(folder):
    assert listed(folder / "a.jsonl") == [("a.jsonl", "jsonl")]
    assert listed(folder / "README.md", "csv") == [("README.md", "csv")]
    assert listed(folder / "?.*n*") == [("a.jsonl", "jsonl"), ("b.json.gz", "json")]
    assert listed(folder / "*.csv") == [("c.csv", "csv")]  # not the hidden one
    assert listed(folder / ".*.csv") == listed(folder / ".hidden.csv") == [(".hidden.csv", "csv")]
    assert listed(folder / "odd[1]*.json") == [("odd[1]*.json", "json")]


@pytest.mark.parametrize(
    "path", ["a.jsonl", "d/a.jsonl", "/a.jsonl", "/d/e", "gs://bucket/d/*.csv", "gs://bucket/d", "d/*.json"]
)
def test_join_path_undoes_split_path(path):
    assert join_path(*split_path(path)) == path


def test_remote_folders_are_told_by_their_name():
    assert split_path("gs://bucket/data") == ("gs://bucket/data", "*")
    assert split_path("gs://bucket/data/") == ("gs://bucket/data", "*")
    assert split_path("gs://bucket/data.jsonl.gz") == ("gs://bucket", "data.jsonl.gz")


def test_relative_paths(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert split_path("a.jsonl") == (".", "a.jsonl")
    assert listed("a.jsonl") == [("a.jsonl", "jsonl")]
    assert len(listed(".")) == 5


def test_only_regular_files_are_read(folder):
    (folder / "link.jsonl").symlink_to(folder / "a.jsonl")
    assert ("link.jsonl", "jsonl") in listed(folder)
    (folder / "gone.jsonl").symlink_to(folder / "nothing")
    with pytest.raises(UserError, match=r"gone\.jsonl, which is a link to a file that is not there"):
        listed(folder)
    (folder / "gone.jsonl").unlink()
    os.mkfifo(folder / "pipe.jsonl")  # who opens it waits for a writer
    for path in (folder, folder / "pipe.jsonl"):
        with pytest.raises(
            UserError, match=r"regular files\. Received: .*pipe\.jsonl, which is a named pipe\. Remove it"
        ):
            listed(path)
    assert listed(folder, "csv") == [("c.csv", "csv")]
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "s.csv"))
        with pytest.raises(UserError, match=r"s\.csv, which is a socket"):
            listed(folder, "csv")


def test_a_hash_tells_content_and_names(folder):
    first, second = folder / "a.jsonl", folder / "b.jsonl"
    times = (1_700_000_000, 1_700_000_000)

    def hash_both(one, two):
        for path, text in ((first, one), (second, two)):
            path.write_text(text)
            os.utime(path, times)  # as a copy that keeps times
        return hash_files(list_files(*split_path(f"{folder}/*.jsonl"), "auto"))

    assert hash_both("the cat", "the dog") == hash_both("the cat", "the dog")
    assert len({hash_both("the cat", "the dog"), hash_both("teh cat", "the dog"), hash_both("the dog", "the cat")}) == 3


@pytest.mark.parametrize("path", ["", "  ", "/", "d*/a.jsonl", "d-{SPAN}/a.jsonl", "a-{YYYY}.jsonl"])
def test_paths_that_mean_nothing_are_errors(path):
    with pytest.raises(UserError, match=r"data\.path"):
        split_path(path)


def test_no_file_no_extension(folder, tmp_path_factory):
    with pytest.raises(UserError, match="no such file: .*z.jsonl"):
        listed(folder / "z.jsonl")
    with pytest.raises(UserError, match=r"must end in \.jsonl, .*README\.md.*data\.format"):
        listed(folder / "README.md")
    with pytest.raises(UserError, match="It holds no files"):
        listed(tmp_path_factory.mktemp("empty"))
    with pytest.raises(UserError, match="files that end in .parquet. It holds"):
        (folder / "d.parquet").unlink()
        listed(folder, "parquet")


def test_detect_format():
    assert detect_format("gs://b/A.CSV.GZ") == "csv"
    with pytest.raises(UserError):
        detect_format("a.parquet.gz")


def test_links_out_of_a_folder_are_described(tmp_path):
    folder, other = tmp_path / "data", tmp_path / "other"
    folder.mkdir()
    other.mkdir()
    for path in (folder / "a.jsonl", other / "b.jsonl"):
        path.write_text("{}")
    (folder / "inside.jsonl").symlink_to("a.jsonl")
    (folder / "outside.jsonl").symlink_to("../other/b.jsonl")
    (tmp_path / "link").symlink_to(folder)  # the folder may be one itself
    for place in (folder, tmp_path / "link"):
        files = list_files(*split_path(str(place)), "auto")
        assert len(files) == 3
        assert describe_links(files) == [f"outside.jsonl ({other}/b.jsonl)"]


def test_what_is_left_out_of_a_folder_is_listed(tmp_path):
    for name in ("a.jsonl", "x.ndjson", "README.md", ".gitattributes"):
        (tmp_path / name).write_text("{}")
    (tmp_path / "more").mkdir()
    for path, expected in ((tmp_path, ["README.md", "x.ndjson", "more/"]), (tmp_path / "a.jsonl", [])):
        left_out = []
        assert len(list_files(*split_path(str(path)), "auto", left_out.extend)) == 1
        assert left_out == expected


def test_a_name_that_is_not_utf8_is_refused(tmp_path):
    (tmp_path / os.fsdecode(b"a\xff.jsonl")).write_text("{}")
    with pytest.raises(UserError, match=r"a\\xff\.jsonl, which is a name that is not UTF-8"):
        listed(tmp_path)


def test_a_bucket_that_cannot_be_asked_is_told(monkeypatch):
    def refuse(pattern):
        raise PermissionError("403: no access to bucket")

    monkeypatch.setattr("components.storage.find_files", refuse)
    with pytest.raises(UserError, match=r"gs://b/data must be there, and readable.*403.*your credentials"):
        list_files("gs://b/data", "*", "auto")
