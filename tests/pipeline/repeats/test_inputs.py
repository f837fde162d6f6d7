"""What a run depends on, from real files and a real client of buckets."""

import json

import pytest
import tensorflow as tf

from components.errors import UserError
from components.example_gen import source
from pipeline.repeats.inputs import INPUTS, PARTS, make_record
from pipeline.validate import load_config

CONFIG = "configs/runs/tiny_gpt2_en_lora.yaml"
# Longer than one piece of the stream.
LONG = b"x" * 3_000_000


def hash_data(path, window):
    return source.hash_data(path, source.resolve_input(path, window, "auto").files)


def test_data_are_known_by_content_and_spans(tmp_path):
    for span in (1, 2):
        (tmp_path / f"{span}.jsonl").write_text(f"{span}")
    pattern = f"{tmp_path}/{{SPAN}}.jsonl"
    newest = hash_data(pattern, 1)
    assert newest == hash_data(str(tmp_path / "2.jsonl"), 1)
    assert newest != hash_data(pattern, 2)
    hashes = set()
    for content in (b"", b"x", LONG, LONG + b"y", LONG + b"z"):
        (tmp_path / "1.jsonl").write_bytes(content)
        hashes.add(hash_data(str(tmp_path / "1.jsonl"), 1))
    assert len(hashes) == 5


def test_a_folder_is_all_that_is_in_it(tmp_path):
    (tmp_path / "below").mkdir()
    (tmp_path / "a.jsonl").write_text("1")
    before = hash_data(str(tmp_path), 1)
    # Not read, so not compared.
    (tmp_path / "below" / "b.jsonl").write_text("2")
    assert hash_data(str(tmp_path), 1) == before
    (tmp_path / "b.jsonl").write_text("2")
    assert hash_data(str(tmp_path), 1) != before
    (tmp_path / "b.jsonl").rename(tmp_path / "c.jsonl")
    assert hash_data(str(tmp_path), 1) != before


def write(path, content):
    with tf.io.gfile.GFile(path, "wb") as file:
        file.write(content)


def test_data_in_a_bucket_are_read_there_and_have_the_hash_of_the_same_files_here(bucket, tmp_path):
    for day, content in (("2026-11-02", LONG), ("2026-11-09", b"y")):
        (tmp_path / day).mkdir()
        (tmp_path / day / "a.jsonl").write_bytes(content)
        write(f"{bucket.url}/data/{day}/a.jsonl", content)
    for place in ("2026-11-02/a.jsonl", "2026-11-02/*.jsonl", "2026-11-09", "{YYYY}-{MM}-{DD}/*.jsonl"):
        assert hash_data(f"{bucket.url}/data/{place}", 2) == hash_data(f"{tmp_path}/{place}", 2), place
    folder = f"{bucket.url}/data/2026-11-02"
    hashes = [hash_data(folder, 1)]
    for name, content in (("a.jsonl", LONG + b"y"), ("a.jsonl", LONG + b"z"), ("b.jsonl", b"z")):
        write(f"{folder}/{name}", content)
        hashes.append(hash_data(folder, 1))
    assert len(set(hashes)) == 4


def test_data_that_cannot_be_read_are_said_so(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="at least one span must be there"):
        hash_data(f"{tmp_path}/{{SPAN}}.jsonl", 1)
    file = tmp_path / "a.jsonl"
    file.write_text("1")
    monkeypatch.setattr("components.storage.open", _refuse, raising=False)
    with pytest.raises(UserError, match=f"the files of {file} must be there, and readable.*not allowed"):
        hash_data(str(file), 1)


def _refuse(*_):
    raise PermissionError("not allowed")


def test_a_record_names_every_input_and_a_change_of_one_changes_that_one(tmp_path):
    file = tmp_path / "a.jsonl"
    file.write_text("1")
    config = load_config(CONFIG, [f"data.path={json.dumps(str(file))}"])
    first = make_record(config, CONFIG, runner="kubeflow")
    assert first["runner"] == "kubeflow"
    inputs = json.loads(first[INPUTS])
    assert set(inputs) == set(PARTS) - {"general", "models"}
    assert all(inputs.values())
    file.write_text("2")
    again = json.loads(make_record(config, CONFIG)[INPUTS])
    assert {part for part in PARTS if again.get(part) != inputs.get(part)} == {"data"}
    other = load_config(CONFIG, [f"data.path={json.dumps(str(file))}", "train.seed=5"])
    changed = json.loads(make_record(other, CONFIG)[INPUTS])
    assert {part for part in PARTS if changed.get(part) != again.get(part)} == {"config"}


def test_whatever_else_a_run_reads_counts_by_its_content(tmp_path):
    file, general, schema, judge = (tmp_path / name for name in ("a.jsonl", "g.jsonl", "schema.pbtxt", "judge"))
    judge.mkdir()
    (judge / "model.weights.h5").write_bytes(b"weights")
    for path in (file, general, schema, judge / "config.json"):
        path.write_text("# 1")
    metric = {"name": "embedding_similarity", "preset": str(judge)}
    overrides = {
        "data.path": str(file),
        "data.schema_path": str(schema),
        "evaluation.general": {"path": str(general)},
        "evaluation.metrics": ["perplexity", "exact_match", metric],
    }
    config = load_config(CONFIG, [f"{name}={json.dumps(value)}" for name, value in overrides.items()])
    inputs = json.loads(make_record(config, CONFIG)[INPUTS])
    assert set(inputs) == set(PARTS)
    for part, path in (("general", general), ("schema", schema), ("models", judge / "config.json")):
        path.write_text("# 2")
        changed = json.loads(make_record(config, CONFIG)[INPUTS])
        assert {name for name in PARTS if changed[name] != inputs[name]} == {part}
        inputs = changed
    schema.unlink()
    with pytest.raises(
        UserError, match=r"data\.schema_path: the file must be there, and readable\. Received: .*schema\.pbtxt"
    ):
        make_record(config, CONFIG)
    general.unlink()
    with pytest.raises(UserError, match=r"evaluation\.general\.path: no such file: .*g\.jsonl"):
        make_record(config, CONFIG)
