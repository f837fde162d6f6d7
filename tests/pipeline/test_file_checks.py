"""Paths of data files that this machine sees, and that only the cluster does."""

import os

import pytest

from pipeline.file_checks import find_file_problems, is_below


@pytest.mark.parametrize(
    ("path", "file_format"),
    [
        ("/mnt/data/train.jsonl", "auto"),
        ("/mnt/data/train", "auto"),
        ("/mnt/data/train/", "auto"),
        ("/mnt/data/*.csv", "auto"),
        ("/mnt/data/train.txt", "jsonl"),
        ("/mnt/data/{SPAN}/part-*.jsonl", "auto"),
        ("gs://bucket/data/{YYYY}-{MM}-{DD}/*.jsonl", "auto"),
        ("gs://bucket/data", "auto"),
    ],
)
def test_a_path_on_the_volume_or_in_a_bucket_is_not_looked_for_here(path, file_format):
    assert find_file_problems(path, file_format, "/mnt/data") == []


@pytest.mark.parametrize(
    ("path", "mounted", "part"),
    [
        ("/mnt/data/train.jsonl", None, "there is no such file or folder"),
        ("/mnt/database/train.jsonl", "/mnt/data", "there is no such file or folder"),
        ("/mnt/data/train.doc", "/mnt/data", "must end in .jsonl"),
        ("/mnt/data/{DAY}.jsonl", "/mnt/data", "may hold the placeholders {SPAN}"),
        ("/mnt/data/{YYYY}.jsonl", "/mnt/data", "together"),
        ("/mnt/data/*/train.jsonl", "/mnt/data", "may stand in the last part only"),
    ],
)
def test_what_can_be_told_of_it_is_told(path, mounted, part):
    (problem,) = find_file_problems(path, "auto", mounted)
    assert part in problem


@pytest.mark.parametrize(
    "path", ["https://example.com/x.jsonl", "hf://datasets/a/b", "file:///data/x.jsonl", "s3://bucket/x.jsonl"]
)
def test_addresses_that_nobody_reads_are_refused(path):
    (problem,) = find_file_problems(path, "auto", "/mnt/data")
    assert problem.startswith("must be a local path or an address in a bucket (gs://). Received: ")
    assert path in problem


@pytest.mark.parametrize(
    ("path", "folder", "expected"),
    [("/a/b", "/a", True), ("/a/b", "/a/", True), ("/a", "/a", False), ("/ab/c", "/a", False), ("/a/b", None, False)],
)
def test_is_below(path, folder, expected):
    assert is_below(path, folder) is expected


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["lang=en/part.parquet"], "It holds no files and one folder, which is not looked into: name one."),
        (["notes.txt", "x.tsv"], "It holds notes.txt, x.tsv."),
        (["a.jsonl.zst"], "must hold files that end in .jsonl, .jsonl.gz"),
        ([], "It holds no files."),
    ],
)
def test_a_folder_without_data_is_told_before_anything_runs(tmp_path, names, told):
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    (problem,) = find_file_problems(str(tmp_path), "auto")
    assert told in problem
    (tmp_path / "a.jsonl").write_text("{}")
    assert find_file_problems(str(tmp_path), "auto") == []


def test_a_glob_is_read_as_the_run_reads_it(tmp_path):
    (tmp_path / "a.jsonl").write_text("{}")
    for name in ("**.jsonl", "a**", "*.jsonl"):
        assert find_file_problems(f"{tmp_path}/{name}", "jsonl") == []
    (problem,) = find_file_problems(f"{tmp_path}/b**", "jsonl")
    assert "must be a file, a folder or a glob of files that matches" in problem


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("~/data.jsonl", "must be a path without `~`, which only shells read"),
        ("x" * 300 + ".jsonl", "File name too long"),
        ('{"instruction": "' + "x" * 300 + '"}', "and no other braces"),
    ],
)
def test_what_is_no_path_of_this_machine_is_told(path, told):
    (problem,) = find_file_problems(path, "jsonl")
    assert told in problem


def test_what_would_wait_or_cannot_be_named_is_told_before_anything_runs(tmp_path):
    os.mkfifo(tmp_path / "a.jsonl")
    assert "a.jsonl, which is a named pipe" in find_file_problems(str(tmp_path), "auto")[0]
    (problem,) = find_file_problems(f"{tmp_path}/a\nb.jsonl", "auto")
    assert problem.startswith("must be a path without line breaks")
