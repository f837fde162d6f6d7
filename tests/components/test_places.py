from pathlib import Path

from components import places


def test_places_below_the_root_that_a_run_is_given(tmp_path, monkeypatch):
    assert places.find_folder("/fixed", None) == "/fixed"
    assert places.find_folder("${root}/checkpoints", "/here/") == "/here/checkpoints"
    monkeypatch.setattr(places, "_MOUNTED_BUCKETS", tmp_path)
    assert places.find_folder("${root}/checkpoints", "gs://bucket/x") == str(tmp_path / "bucket" / "x" / "checkpoints")
    monkeypatch.setattr(places, "_MOUNTED_BUCKETS", tmp_path / "none")
    local = places.find_folder("${root}/checkpoints", "gs://bucket/x")
    assert Path(local).is_absolute()
    assert local.endswith("bucket/x/checkpoints")
