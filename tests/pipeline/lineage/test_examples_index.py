"""Tests of the search for an example in what ExampleGen has written, on files of ExampleGen's own serialization."""

import gzip
import json
import struct
import zlib
from pathlib import Path

import pytest
import tensorflow as tf
from rich.console import Console

from components.errors import UserError
from pipeline.lineage import examples_index, impact_view
from pipeline.lineage.examples_index import ID_LENGTH, find_ids, inflate, list_contents, search
from pipeline.lineage.impact import MEASURED, SELECTED, TRAINED, find_impact

COLUMNS = {"instruction": "instruction", "input": None, "output": "output"}


@pytest.fixture(scope="module")
def make_record():
    """Makes the id and the serialized example of a text, by the very functions that ExampleGen uses."""
    from components.example_gen.ingest import serialize
    from components.example_gen.records import Columns, make_example

    def make(text: str) -> tuple[str, bytes]:
        example = make_example({"instruction": text, "output": "yes"}, Columns(**COLUMNS), "rows.jsonl")
        return example["example_id"], serialize(example)

    return make


def to_tfrecord(records: list[bytes]) -> bytes:
    # The checksums are not looked at.
    return b"".join(struct.pack("<Q", len(record)) + b"\0" * 4 + record + b"\0" * 4 for record in records)


def write_split(uri: str, split: str, records: list[bytes]) -> Path:
    path = Path(uri, f"Split-{split}", "data_tfrecord-00000-of-00001.gz")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(to_tfrecord(records)))
    return path


def test_the_id_has_the_length_that_example_gen_gives_it(make_record):
    example_id, record = make_record("a question")
    assert len(example_id) == ID_LENGTH
    assert list(find_ids([record], example_id)) == [example_id]


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


@pytest.mark.parametrize("size", [1, 2, 7, 41, 64, 100, 1 << 20])
def test_no_seam_between_blocks_hides_or_doubles_an_id(make_record, size: int):
    made = [make_record(f"question {number}") for number in range(20)]
    blocks = cut(to_tfrecord([record for _, record in made]), size)
    assert list(find_ids(blocks, "")) == [example_id for example_id, _ in made]
    for example_id, _ in made[::5]:
        assert list(find_ids(blocks, example_id[:9])) == [example_id]


@pytest.mark.parametrize("size", [1, 10, 1000, 1 << 20])
@pytest.mark.parametrize("block", [1, 100, 1 << 20])
def test_gzip_in_blocks_of_bounded_size(monkeypatch, size: int, block: int):
    monkeypatch.setattr(examples_index, "_BLOCK_BYTES", block)
    texts = [b"first" * 200, b"", b"second" * 300]
    packed = b"".join(map(gzip.compress, texts))
    blocks = list(inflate(cut(packed, size)))
    assert b"".join(blocks) == b"".join(texts)
    assert max(map(len, blocks)) <= block
    with pytest.raises(EOFError, match="too early"):
        list(inflate(cut(packed[:-9], size)))
    with pytest.raises(zlib.error):
        list(inflate([b"no gzip at all"]))


def test_an_id_inside_of_a_text_is_not_an_example(make_record):
    example_id, _ = make_record("a question")
    _, other = make_record(f"what is {example_id}?")
    assert list(find_ids([to_tfrecord([other])], example_id)) == []


@pytest.mark.parametrize(
    ("split", "use", "words"),
    [
        ("train", TRAINED, "1 model trained on it"),
        ("eval", SELECTED, "1 model did not train on it: it is in the split that decides when training stops"),
        ("test", MEASURED, "1 model did not train on it: it was held out, for measuring only"),
    ],
)
def test_the_split_decides_what_an_example_was_to_a_model(small_store, make_record, split: str, use: str, words: str):
    made = small_store.record("run-1")
    example_id, record = make_record("a question")
    for name in ("train", "eval", "test"):
        write_split(made["ExampleGen"].uri, name, [make_record(name)[1], *([record] if name == split else [])])
    impact = find_impact(small_store.reader, example_id)
    assert (impact.kind, [(m.run_id, m.use) for m in impact.models]) == ("example", [("run-1", use)])
    assert impact.reruns[0].from_nodes == ("ExampleGen",)
    console = Console(width=160)
    with console.capture() as capture:
        console.print(impact_view.render(impact))
    assert words in capture.get() and f"in the split {split} of /data/rows.jsonl" in capture.get()


def test_a_model_that_trained_on_it_in_other_data_counts_as_trained(small_store, make_record):
    example_id, record = make_record("a question")
    for run_id, split in (("run-1", "test"), ("run-2", "train")):
        made = small_store.record(run_id, data=f"/data/{run_id}/rows.jsonl")
        write_split(made["ExampleGen"].uri, split, [record])
    impact = find_impact(small_store.reader, example_id[:8])
    assert [(m.run_id, m.use) for m in impact.models] == [("run-2", TRAINED), ("run-1", MEASURED)]
    assert impact.counts.by_use == {TRAINED: 1, MEASURED: 1}


def test_a_start_that_trained_on_it_outweighs_a_test_split(small_store, make_record):
    example_id, record = make_record("a question")
    first = small_store.record("run-1", data="/data/old/rows.jsonl", trained={"tuned_hash": "of-run-1"})
    write_split(first["ExampleGen"].uri, "train", [record])
    second = small_store.record("run-2", data="/data/new/rows.jsonl", trained={"base_hash": "of-run-1"})
    write_split(second["ExampleGen"].uri, "test", [record])
    impact = find_impact(small_store.reader, example_id)
    assert [(m.run_id, m.use) for m in impact.models] == [("run-2", TRAINED), ("run-1", TRAINED)]


def test_the_same_data_are_read_once(small_store, make_record):
    example_id, record = make_record("a question")
    for run_id in ("run-1", "run-2"):
        made = small_store.record(run_id)
        write_split(made["ExampleGen"].uri, "train", [record])
    (content,) = list_contents(small_store.reader)
    assert len(content.artifact_ids) == 2
    assert search([content], example_id).num_searched == 1
    assert [m.run_id for m in find_impact(small_store.reader, example_id).models] == ["run-2", "run-1"]


def test_other_settings_or_another_file_name_are_other_data(small_store):
    def record(run_id: str, path: str, **settings):
        text = json.dumps({"data": {"path": path, **settings}, "code_hash": "1"})
        custom = json.dumps({"custom_config": {"value": text}})
        run = small_store.start(run_id)
        run.node(
            "ExampleGen", {}, "examples", "Examples", data_path=path, data_sha256="1" * 64,
            parameters={"custom_config": custom},
        )  # fmt: skip

    record("run-1", "/data/rows.jsonl", splits={"train": 0.8})
    record("run-2", "/data/rows.jsonl", splits={"train": 0.8}, quarantine_dir="/elsewhere")
    assert len(list_contents(small_store.reader)) == 1
    record("run-3", "/data/rows.jsonl", splits={"train": 0.5})
    record("run-4", "/data/renamed.jsonl", splits={"train": 0.8})
    assert len(list_contents(small_store.reader)) == 3


def test_files_that_are_gone_leave_it_open(small_store, make_record):
    example_id, record = make_record("a question")
    small_store.record("run-1", data="/data/old/rows.jsonl")
    with pytest.raises(UserError, match=r"Of 1 of 1 it cannot be known.*/data/old/rows.jsonl.*files are gone"):
        find_impact(small_store.reader, example_id)
    made = small_store.record("run-2", data="/data/new/rows.jsonl")
    write_split(made["ExampleGen"].uri, "train", [record])
    impact = find_impact(small_store.reader, example_id)
    assert any("not known of /data/old/rows.jsonl" in detail and "gone" in detail for detail in impact.details)


def test_a_broken_file_leaves_it_open(small_store, make_record):
    example_id, record = make_record("a question")
    made = small_store.record("run-1")
    path = write_split(made["ExampleGen"].uri, "train", [record] * 50)
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(UserError, match="a file cannot be read"):
        find_impact(small_store.reader, example_id)


def test_files_in_a_bucket_are_read_too(small_store, bucket, make_record):
    example_id, record = make_record("a question")
    made = small_store.record("run-1")["ExampleGen"]
    made.uri = f"{bucket.url}/examples/1"
    small_store.store.put_artifacts([made])
    with pytest.raises(UserError, match="files are gone"):
        find_impact(small_store.reader, example_id)
    with tf.io.gfile.GFile(f"{made.uri}/Split-train/data_tfrecord-00000-of-00001.gz", "wb") as file:
        file.write(gzip.compress(to_tfrecord([record])))
    assert [m.use for m in find_impact(small_store.reader, example_id).models] == [TRAINED]


def test_an_id_that_is_nowhere_names_the_quarantine(small_store, make_record):
    made = small_store.record("run-1")
    write_split(made["ExampleGen"].uri, "train", [make_record("a question")[1]])
    with pytest.raises(
        UserError, match=r"\(1 searched\) none has such an id.*quarantine has no id, and no model has seen it"
    ):
        find_impact(small_store.reader, "0123456789abcdef")


def test_the_beginning_of_several_ids_is_refused(small_store, make_record):
    made = small_store.record("run-1")
    ids: dict[str, tuple[str, bytes]] = {}
    number = 0
    while True:  # until two ids begin alike
        example_id, record = make_record(f"question {number}")
        if other := ids.get(example_id[:6]):
            break
        ids[example_id[:6]] = (example_id, record)
        number += 1
        if number > 20_000:
            pytest.fail("no two ids begin alike")
    write_split(made["ExampleGen"].uri, "train", [other[1], record])
    with pytest.raises(UserError, match=rf"with which 2 begin: .*{example_id}"):
        find_impact(small_store.reader, example_id[:6])
    assert find_impact(small_store.reader, example_id).reason == f"the example {example_id}"


@pytest.mark.parametrize("text", ["example:xyz", "example:ab", "example:" + "a" * 33])
def test_what_cannot_be_an_id_is_refused(small_store, text: str):
    small_store.record("run-1")
    with pytest.raises(UserError, match="consists of 32 hex digits"):
        find_impact(small_store.reader, text)


class Counted:
    total = done = 0

    def start(self, num_bytes: int) -> None:
        self.total = num_bytes

    def advance(self, num_bytes: int) -> None:
        self.done += num_bytes


def test_progress_reaches_the_end(small_store, make_record):
    sizes = []
    for run_id in ("run-1", "run-2"):
        made = small_store.record(run_id, data=f"/data/{run_id}/rows.jsonl")
        sizes.append(write_split(made["ExampleGen"].uri, "train", [make_record(run_id)[1]] * 30).stat().st_size)
    progress = Counted()
    search(list_contents(small_store.reader), "0" * 32, progress)
    assert (progress.total, progress.done) == (sum(sizes), sum(sizes))
    progress = Counted()
    assert search(list_contents(small_store.reader), make_record("run-1")[0], progress).holdings
    assert progress.done == sum(sizes)
