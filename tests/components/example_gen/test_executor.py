"""The executor through Beam, and the component in a pipeline."""

import gzip
import json
import os
import struct

import pytest

from components.errors import UserError

ROWS = [{"instruction": f"Say {i}", "output": str(i), "kind": "x" if i % 2 else "y"} for i in range(100)]
COLUMNS = {"instruction": "instruction", "input": None, "output": "output", "messages": None}


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def read_examples(folder):
    from tensorflow.core.example import example_pb2

    for path in sorted(folder.glob("*.gz")):
        data = gzip.decompress(path.read_bytes())
        while data:  # a TFRecord is length, checksum, bytes, checksum
            (length,) = struct.unpack("<Q", data[:8])
            yield example_pb2.Example.FromString(data[12 : 12 + length]).features.feature
            data = data[16 + length :]


def test_a_folder_of_files(execute, data_config, write, tmp_path):
    write("d/a.jsonl.gz", lines(ROWS[:60]) + "{broken\n")
    write("d/b.json", json.dumps(ROWS[60:]))
    write("d/README.md", "not data")
    config = data_config(columns=COLUMNS, slice_columns=["kind"], max_bad_fraction=0.01)
    examples = execute(tmp_path / "d", config)

    out = tmp_path / "examples"
    report = json.loads((out / "ingest_report.json").read_text())
    assert (report["rows_read"], report["rows_kept"], report["rows_quarantined"]) == (101, 100, 1)
    assert [file["rows_read"] for file in report["files"]] == [61, 40]
    written = {name: list(read_examples(out / f"Split-{name}")) for name in ("train", "eval", "test")}
    assert {name: len(rows) for name, rows in written.items()} == report["rows_by_split"]
    texts = {row["instruction"].bytes_list.value[0].decode() for rows in written.values() for row in rows}
    assert texts == {row["instruction"] for row in ROWS}
    assert {name for rows in written.values() for row in rows for name in row} == {
        *("instruction", "input", "output", "example_id", "source", "kind")
    }
    (quarantined,) = [
        json.loads(line) for path in (out / "quarantine").iterdir() for line in path.read_text().splitlines()
    ]
    assert (quarantined["file"], quarantined["line"]) == (str(tmp_path / "d/a.jsonl.gz"), 61)
    assert not (out / ".ingest").exists()

    assert json.loads(examples.split_names) == ["train", "eval", "test"]
    assert examples.get_int_custom_property("rows_read") == 101
    assert examples.get_int_custom_property("rows_quarantined") == 1
    assert json.loads(examples.get_string_custom_property("rows_by_split")) == report["rows_by_split"]
    assert examples.get_string_custom_property("data_path") == str(tmp_path / "d")
    assert len(examples.get_string_custom_property("data_sha256")) == 64
    assert examples.get_string_custom_property("payload_format") == "FORMAT_TF_EXAMPLE"


def test_too_many_bad_records_leave_a_copy_of_the_quarantine(execute, data_config, write, tmp_path):
    path = write("a.jsonl", "".join(f"{{{i}\n" for i in range(20)) + lines(ROWS))
    config = data_config(columns=COLUMNS, quarantine_dir=str(tmp_path / "kept/q"))
    with pytest.raises(UserError) as error:
        execute(path, config)
    (copy,) = (tmp_path / "kept/q").iterdir()
    assert len(copy.read_text().splitlines()) == 20
    text = str(error.value)
    assert str(copy) in text
    assert "Received: 20 of 120" in text
    assert [f"line {n}:" in text for n in (1, 5, 6)] == [True, True, False]


def test_a_broken_file_is_a_user_error_of_do(execute, data_config, write):
    with pytest.raises(UserError, match=r"broken\.json: must be one JSON array"):
        execute(write("broken.json", "[1,"), data_config())


def test_the_component_passes_on_what_the_records_depend_on(data_config):
    from components.example_gen.component import InstructionExampleGen
    from components.example_gen.settings import read_custom_config

    config = data_config(path="gs://b/d/*.csv", schema_path="s.pbtxt", quarantine_dir="q")
    properties = InstructionExampleGen("gs://b/d/*.csv", config, "hash").exec_properties
    assert properties["input_base"] == "gs://b/d/*.csv"
    buckets = json.loads(properties["output_config"])["split_config"]["splits"]
    assert {split["name"]: split["hash_buckets"] for split in buckets} == {"train": 8000, "eval": 1000, "test": 1000}
    assert read_custom_config(properties) == {"code_hash": "hash", "data": data_config(quarantine_dir="q")}


@pytest.fixture
def make_examples_pipeline(tmp_path):
    """Returns a function that makes a function that runs ExampleGen in a pipeline and tells what it has recorded."""
    from ml_metadata.proto import metadata_store_pb2
    from tfx import v1 as tfx
    from tfx.orchestration import metadata

    from components.example_gen.component import InstructionExampleGen

    connection = tfx.orchestration.metadata.sqlite_metadata_connection_config(str(tmp_path / "metadata.sqlite"))

    def make(path, config, code_hash="1"):
        def run():
            pipeline = tfx.dsl.Pipeline(
                pipeline_name="examples",
                pipeline_root=str(tmp_path / "root"),
                components=[InstructionExampleGen(path, config, code_hash)],
                enable_cache=True,
                metadata_connection_config=connection,
                beam_pipeline_args=[
                    "--runner=DirectRunner",
                    "--prism_location=/nonexistent",
                    "--sdk_container_image=none",
                ],
            )
            tfx.orchestration.LocalDagRunner().run(pipeline)
            with metadata.Metadata(connection) as handle:
                execution = handle.store.get_executions()[-1]
                artifact = handle.store.get_artifacts()[-1]
            values = {name: getattr(v, v.WhichOneof("value")) for name, v in artifact.custom_properties.items()}
            return {"cached": execution.last_known_state == metadata_store_pb2.Execution.CACHED, **values}

        return run

    return make


def test_in_a_pipeline_the_node_runs_again_only_if_something_changed(data_config, write, make_examples_pipeline):
    path = write("a.jsonl", lines(ROWS))

    def run(config, code_hash):
        return make_examples_pipeline(str(path), config, code_hash)()["cached"]

    config = data_config(columns=COLUMNS, path=str(path), schema_path="schema.pbtxt")
    assert [run(config, "1"), run({**config, "schema_path": None}, "1"), run(config, "2")] == [False, True, False]
    path.write_text(lines(ROWS[:99]))
    assert run(config, "2") is False
    # What is in the data decides, not when they were written: sizes and times may be those of before.
    before = path.stat()
    path.write_text(path.read_text().replace("Say", "Sya"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert run(config, "2") is False
    os.utime(path)
    assert run(config, "2") is True


def test_a_file_with_another_name_is_read_again(data_config, write, tmp_path, make_examples_pipeline):
    """The ids of its examples have the name, and the lineage names the file."""
    path = write("d/a.jsonl", lines(ROWS))
    run = make_examples_pipeline(str(tmp_path / "d"), data_config(columns=COLUMNS))
    assert [run()["cached"], run()["cached"]] == [False, True]
    path.rename(path.with_name("b.jsonl"))
    assert [run()["cached"], run()["cached"]] == [False, True]


def test_a_window_of_spans_is_read_and_a_new_span_runs_the_node_again(data_config, tmp_path, make_examples_pipeline):
    for span in (1, 2, 10):
        folder = tmp_path / "data" / f"span-{span}"
        folder.mkdir(parents=True)
        (folder / "a.jsonl").write_text(lines(ROWS[: 40 + span]))
    config = data_config(columns=COLUMNS, window=2)
    run = make_examples_pipeline(str(tmp_path / "data" / "span-{SPAN}" / "*.jsonl"), config)
    first, again = run(), run()
    assert [first["cached"], again["cached"]] == [False, True]
    # The newest two: 10 follows 2 as a number.
    assert (first["span"], first["rows_read"]) == (10, 42 + 50)
    (tmp_path / "data" / "span-11").mkdir()
    (tmp_path / "data" / "span-11" / "a.jsonl").write_text(lines(ROWS[:30]))
    newer = run()
    assert (newer["cached"], newer["span"], newer["rows_read"]) == (False, 11, 50 + 30)


def test_records_that_are_not_wanted_are_left_out_and_counted(execute, data_config, write, tmp_path):
    path = write("a.jsonl", lines([*ROWS, {"instruction": "x", "output": "y", "kind": None}]) + "{broken\n")
    config = data_config(columns=COLUMNS, slice_columns=["kind"], where=["kind=x"])
    examples = execute(path, config)
    report = json.loads((tmp_path / "examples" / "ingest_report.json").read_text())
    counts = {name: report[f"rows_{name}"] for name in ("read", "kept", "left_out", "quarantined")}
    assert counts == {"read": 102, "kept": 50, "left_out": 51, "quarantined": 1}
    assert examples.get_int_custom_property("rows_left_out") == 51
    kinds = {
        row["kind"].bytes_list.value[0]
        for name in ("train", "eval", "test")
        for row in read_examples(tmp_path / "examples" / f"Split-{name}")
    }
    assert kinds == {b"x"}


@pytest.mark.parametrize(
    ("where", "message"),
    [
        (["kidn=x"], r"data\.where\[0\] is `kidn`, which no record has\. Did you mean `kind`\?"),
        (["kind=z"], r"none of 100 is\. left out by data\.where: 100"),
    ],
)
def test_a_condition_that_nothing_fulfils_is_an_error(execute, data_config, write, where, message):
    with pytest.raises(UserError, match=message):
        execute(write("a.jsonl", lines(ROWS)), data_config(columns=COLUMNS, where=where))


def test_data_that_change_after_the_driver_are_not_read(execute, data_config, write):
    path = write("a.jsonl", lines(ROWS))
    with pytest.raises(UserError, match="must not be written to while they are read"):
        execute(path, data_config(columns=COLUMNS), lambda: write("a.jsonl", lines(ROWS[:-1])))


def test_what_a_person_should_know_of_the_files_is_recorded(execute, data_config, write, tmp_path):
    write("other/b.jsonl", lines(ROWS[50:]))
    write("d/a.jsonl", lines([{**row, "\ud800[/x]": 1} for row in ROWS[:50]]))
    for i in range(5):
        write(f"d/{i}.txt", "x")
    (tmp_path / "d/b.jsonl").symlink_to(tmp_path / "other/b.jsonl")
    examples = execute(tmp_path / "d", data_config(columns=COLUMNS))
    told = [examples.get_string_custom_property(name) for name in ("columns_dropped", "links_out", "files_left_out")]
    assert told == ["kind, \\ud800[/x]", f"b.jsonl ({tmp_path}/other/b.jsonl)", "0.txt, 1.txt, 2.txt and 2 more"]
