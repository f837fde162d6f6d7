"""Where a node works beside its artifacts."""

import tempfile
from pathlib import Path

import pytest

from components import places


@pytest.mark.parametrize(
    ("path", "root", "expected"),
    [
        ("${root}/judgements", "gs://bucket/base/", "gs://bucket/base/judgements"),
        ("${root}/judgements", "/data/base", "/data/base/judgements"),
        ("runs/judgements", None, "runs/judgements"),
        ("gs://bucket/judgements", None, "gs://bucket/judgements"),
    ],
)
def test_root_of_the_run_is_filled_in(path, root, expected):
    assert places.fill_root(path, root) == expected


def test_folder_of_a_bucket_is_its_mount(tmp_path, monkeypatch):
    monkeypatch.setattr(places, "_MOUNTED_BUCKETS", tmp_path)
    assert places.find_folder("${root}/checkpoints", "gs://bucket/base") == str(tmp_path / "bucket/base/checkpoints")


def test_folder_of_a_bucket_without_a_mount_is_in_this_container(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(places, "_MOUNTED_BUCKETS", tmp_path / "none")
    expected = Path(tempfile.gettempdir(), "bucket/base/checkpoints")
    assert places.find_folder("${root}/checkpoints", "gs://bucket/base") == str(expected)
    assert "is lost with this container" in caplog.text
    assert places.find_folder("runs/checkpoints", None) == "runs/checkpoints"
