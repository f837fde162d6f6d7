import base64
import gzip
import hashlib
import io
import json
from decimal import Decimal

import numpy
import pyarrow
import pyarrow.parquet
import pytest

from components.errors import UserError
from components.example_gen import item, parquet_reader, readers
from components.example_gen import report as reports

ROWS = [{"instruction": f"Say {i}", "input": "", "output": str(i)} for i in range(30)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)
CSV = "instruction,input,output\n" + "".join(f"Say {i},,{i}\n" for i in range(30))


def pairs(outcome):
    return sorted((e["instruction"], e["input"], e["output"]) for e in outcome.all_examples)


EXPECTED = sorted((row["instruction"], row["input"], row["output"]) for row in ROWS)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", LINES),
        ("a.jsonl.gz", LINES),
        ("A.JSONL", LINES.replace("\n", "\r\n")),
        ("no_final_newline.jsonl", LINES.rstrip()),
        ("bom.jsonl", "\ufeff" + LINES),
        ("lines.json", "\n" + LINES),
        ("bom.json", "\ufeff" + LINES),
        ("array.json", json.dumps(ROWS)),
        ("array.json.gz", json.dumps(ROWS, indent=2)),
        ("bom_array.json", "\ufeff \n" + json.dumps(ROWS)),
        ("a.csv", CSV),
        ("a.csv.gz", CSV.replace("\n", "\r\n")),
        ("bom.csv", "\ufeff" + CSV),
    ],
)
def test_each_format_gives_the_same_records(ingest, write, name, content):
    path = write(name, content)
    outcome = ingest(path)
    report = outcome.check()
    assert pairs(outcome) == EXPECTED
    assert report["rows_read"] == report["rows_kept"] == 30
    assert report["files"][0]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert report["files"][0]["bytes"] == path.stat().st_size


def test_parquet(ingest, tmp_path):
    path = tmp_path / "a.parquet"
    table = pyarrow.Table.from_pylist([{**row, "other": 1.5} for row in ROWS])
    pyarrow.parquet.write_table(table, path, row_group_size=7)
    outcome = ingest(path)
    report = outcome.check()
    assert pairs(outcome) == EXPECTED
    assert report["files"][0]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("column", "least", "told"),
    [
        (
            pyarrow.nulls(3_000_000, pyarrow.string()),
            "_MOST_VALUES",
            r"more than 20 values .* Received: 3,000,000 values",
        ),
        (pyarrow.array([["a"] * 3_000_000]), "_MOST_VALUES", r"more than 20 values .* Received: 3,000,000 values of a"),
        (
            pyarrow.array(["a" * 100_000] * 2_000),
            "MOST_UNPACKED",
            r"more than 10,000 bytes of text .* Received: \d+,\d+,",
        ),
        (
            pyarrow.array(["a" * (4 << 20)]),
            "MOST_UNPACKED",
            r"more than 200 unpacked bytes .* Received: 8,388,\d\d\d unpacked bytes in",
        ),
    ],
    ids=["rows", "items", "text", "bytes"],
)
def test_a_small_parquet_file_that_stands_for_a_huge_one_is_refused(ingest, tmp_path, monkeypatch, column, least, told):
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"instruction": column, "output": column}), path, compression="zstd")
    monkeypatch.setattr(parquet_reader, least, 1 << 20)
    with pytest.raises(UserError, match=told):
        ingest(path).check()


@pytest.mark.parametrize(("length", "most"), [(10, 256), (1 << 16, 15)])
def test_a_long_text_that_many_rows_share_is_not_held_for_all_of_them(ingest, tmp_path, monkeypatch, length, most):
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"instruction": ["x" * length] * 600, "output": ["y"] * 600}), path)
    read, sizes = pyarrow.parquet.ParquetFile.iter_batches, []

    def iterate(self, batch_size, **options):
        for batch in read(self, batch_size, **options):
            sizes.append(batch.nbytes)
            yield batch

    monkeypatch.setattr(pyarrow.parquet.ParquetFile, "iter_batches", iterate)
    monkeypatch.setattr(parquet_reader, "_MOST_BATCH_BYTES", 1 << 20)
    assert len(ingest(path).all_examples) == 600
    assert max(sizes) <= max(1 << 20, 256 * 40)
    assert len(sizes) == -(-600 // most)


def test_a_parquet_file_that_is_written_over_while_it_is_read_has_the_hash_of_what_is_there(
    ingest, tmp_path, monkeypatch
):
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), path)
    read = readers.read_parquet

    def read_and_change(*arguments):
        yield from read(*arguments)
        data = path.read_bytes()
        path.write_bytes(b"other" + data[5:])

    monkeypatch.setattr(readers, "read_parquet", read_and_change)
    report = ingest(path).check()
    assert report["files"][0]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()


def test_parquet_nested_and_bad_rows(ingest, tmp_path):
    path = tmp_path / "a.parquet"
    # "ok", a byte that is not UTF-8, "x"
    text = pyarrow.StringArray.from_buffers(
        3, pyarrow.py_buffer(b"\0\0\0\0\2\0\0\0\3\0\0\0\4\0\0\0"), pyarrow.py_buffer(b"ok\xffx")
    )
    nested = pyarrow.array([{"text": ["a", "b"]}, {"text": ["c"]}, {"text": []}])
    pyarrow.parquet.write_table(pyarrow.table({"q": text, "answers": nested}), path)
    outcome = ingest(path, columns={"instruction": "q", "output": "answers.text.0"})
    assert [(e["instruction"], e["output"]) for e in outcome.all_examples] == [("ok", "a")]
    assert outcome.reasons == [
        (None, 2, "not UTF-8: `q`: byte 0xFF at byte 1, which is 'ÿ' in Windows-1252: save the file as UTF-8"),
        (None, 3, "`answers.text.0` is missing"),
    ]
    assert json.loads(base64.b64decode(outcome.quarantine[0]["raw_base64"])) == {
        "q": "\\xff",
        "answers": {"text": ["c"]},
    }


def test_parquet_makes_no_arguments_of_other_tools(ingest, tmp_path):
    """All rows of a column have one struct: what one call has is null in all others."""

    def call(**arguments):
        return [
            {"role": "user", "content": "Do it.", "tool_calls": None},
            {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f", "arguments": arguments}}]},
        ]

    def tool(**properties):
        return [
            {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": properties}}}
        ]

    rows = [
        {"messages": call(city="Rome"), "tools": tool(city={"type": "string"}), "meta": {"a": 1}},
        {"messages": call(amount=3), "tools": tool(amount={"type": "integer", "minimum": 0}), "meta": {"b": 2}},
    ]
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    outcome = ingest(path, columns={"messages": "messages", "tools": "tools"}, carried=["meta"])
    assert outcome.reasons == []
    found = [(json.loads(e["messages"]), json.loads(e["meta"])) for e in outcome.all_examples]
    arguments = [turns["messages"][1]["tool_calls"][0]["function"]["arguments"] for turns, _ in found]
    assert sorted(arguments, key=str) == [{"amount": 3}, {"city": "Rome"}]
    properties = [turns["tools"][0]["function"]["parameters"]["properties"] for turns, _ in found]
    assert sorted(properties, key=str) == [{"amount": {"minimum": 0, "type": "integer"}}, {"city": {"type": "string"}}]
    # Elsewhere a null is a null.
    assert sorted((meta for _, meta in found), key=str) == [{"a": 1, "b": None}, {"a": None, "b": 2}]


def test_parquet_without_columns_is_an_error(ingest, tmp_path):
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.table({}), path)
    with pytest.raises(UserError, match="must be a Parquet file with columns, and has none"):
        ingest(path).check()


def test_parquet_values_that_python_has_nothing_for_cost_their_row_only(ingest, tmp_path):
    path = tmp_path / "a.parquet"
    far = pyarrow.array([0, 2**60, 1], pyarrow.timestamp("s"))
    table = pyarrow.table({"instruction": ["a", "b", "c"], "output": ["x", "y", "z"], "when": far})
    pyarrow.parquet.write_table(table, path)
    outcome = ingest(path, slices=["when"])
    assert sorted(e["when"] for e in outcome.all_examples) == ["1970-01-01T00:00:00", "1970-01-01T00:00:01"]
    assert [(record, reason.partition(":")[0]) for _, record, reason in outcome.reasons] == [
        (2, "a value cannot be read")
    ]
    assert "`when` (timestamp[" in outcome.reasons[0][2]
    assert json.loads(base64.b64decode(outcome.quarantine[0]["raw_base64"])) == {
        "instruction": "b", "output": "y", "when": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    "column",
    [
        pyarrow.array([0, 1], pyarrow.timestamp("us", tz="Mars/Phobos")),
        pyarrow.array([2**62, 2**62], pyarrow.duration("s")),
    ],
)
def test_parquet_whose_every_row_has_such_a_value_says_so(ingest, tmp_path, column):
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"q": ["a", "b"], "a": ["x", "y"], "when": column}), path)
    with pytest.raises(UserError, match=r"2 of 2.*\n?(.|\n)*a value cannot be read: `when`"):
        ingest(path, columns={"instruction": "q", "output": "a"}, slices=["when"]).check()


def test_parquet_values_become_text(ingest, tmp_path):
    path = tmp_path / "a.parquet"
    columns = {
        "decimal": pyarrow.array([Decimal("1.10"), Decimal("100.00")], pyarrow.decimal128(10, 2)),
        "zero": pyarrow.array([Decimal(0), Decimal(1)], pyarrow.decimal128(20, 10)),
        "short": pyarrow.array([0.1, 16777216.0], pyarrow.float32()),
        "half": pyarrow.array([numpy.float16(0.1), numpy.float16("nan")], pyarrow.float16()),
        "inside": pyarrow.array([{"x": 0.1}, None], pyarrow.struct({"x": pyarrow.float32()})),
        "bytes": pyarrow.array(["é".encode(), b"x"], pyarrow.binary()),
        "day": pyarrow.array([0, 1], pyarrow.date32()),
        "time": pyarrow.array([0, 1], pyarrow.time32("s")),
        "span": pyarrow.array([1, 90], pyarrow.duration("s")),
        "list": pyarrow.array([[1.5, float("nan")], []], pyarrow.list_(pyarrow.float64())),
        "map": pyarrow.array([[("x", 0.1)], None], pyarrow.map_(pyarrow.string(), pyarrow.float32())),
        "numbers": pyarrow.array([[(1, "a")], []], pyarrow.map_(pyarrow.int64(), pyarrow.string())),
        "uuid": pyarrow.array([bytes(range(16)), None], pyarrow.uuid()),
        "map.x": pyarrow.array(["y", "z"]),
    }
    table = pyarrow.table({"q": ["a", "b"], "a": ["x", "y"], **columns})
    pyarrow.parquet.write_table(table, path)
    outcome = ingest(path, columns={"instruction": "q", "output": "a"}, carried=list(columns))
    examples = sorted(outcome.all_examples, key=lambda example: example["instruction"])
    assert [[example[name] for name in columns] for example in examples] == [
        [
            *(
                "1.10",
                "0.0000000000",
                "0.1",
                "0.1",
                '{"x": 0.1}',
                "é",
                "1970-01-01",
                "00:00:00",
                "0:00:01",
                "[1.5, null]",
            ),
            *('{"x": 0.1}', '[[1, "a"]]', "00010203-0405-0607-0809-0a0b0c0d0e0f", "y"),
        ],
        [
            *("100.00", "1.0000000000", "16777216.0", "", "", "x", "1970-01-02", "00:00:01", "0:01:30", "[]"),
            *("", "[]", "", "z"),
        ],
    ]


def test_nan_in_parquet_is_no_value(ingest, tmp_path):
    path = tmp_path / "a.parquet"
    infinite = pyarrow.array([float("inf"), 2.0], pyarrow.float64())
    pyarrow.parquet.write_table(pyarrow.table({"q": ["a", "b"], "a": infinite, "s": infinite}), path)
    outcome = ingest(path, columns={"instruction": "q", "output": "a"}, slices=["s"])
    assert [reason for _, _, reason in outcome.reasons] == ["`a` is not finite: inf"]
    label = pyarrow.array([1.0, float("nan")], pyarrow.float64())
    pyarrow.parquet.write_table(pyarrow.table({"q": ["a", "b"], "label": label}), path)
    outcome = ingest(path, columns={"instruction": "q", "output": "label"})
    assert [example["output"] for example in outcome.all_examples] == ["1.0"]
    assert outcome.reasons == [(None, 2, "`label` is missing: null")]


def test_bytes_that_are_no_text_cost_their_row(ingest, tmp_path):
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"q": ["a"], "a": [b"\xff"]}), path)
    outcome = ingest(path, columns={"instruction": "q", "output": "a"})
    assert [reason for _, _, reason in outcome.reasons] == ["`a` has the wrong type: `a` must be text, is a bytes"]


def test_a_file_with_a_mark_behind_another_is_read(ingest, write):
    """As `cat a.csv b.csv` makes it."""
    outcome = ingest(write("a.csv", f"\ufeff{CSV}\ufeff{CSV}"))
    assert pairs(outcome) == sorted([*EXPECTED, *EXPECTED])
    assert [reason for _, _, reason in outcome.reasons] == [
        "the names of the columns again: as where files were joined"
    ]
    outcome = ingest(write("a.jsonl", f"\ufeff{LINES}\ufeff{LINES}"))
    assert (pairs(outcome), outcome.reasons) == (sorted([*EXPECTED, *EXPECTED]), [])


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (json.dumps(ROWS), r"Its first line begins with `\[`.*`data\.format: json`"),
        ("[\n" + LINES, r"Its first line begins with `\[`"),
        ("[" + json.dumps(ROWS[0]) + ",\n", r"Its first line begins with `\[`"),
        (json.dumps(ROWS[0], indent=1), r"Its first line is `\{` alone: its objects go over several lines"),
    ],
)
def test_json_that_is_no_json_lines_is_told(ingest, write, content, told):
    with pytest.raises(UserError, match=told):
        ingest(write("a.jsonl", content)).check()


def test_what_csv_reads_otherwise_than_it_looks_costs_its_row(ingest, write):
    outcome = ingest(
        write("a.csv", 'instruction,input,output\n"a", "b","c"\ninstruction,input,output\nd,e, f\ng,h," ""To be"""\n')
    )
    found = sorted((e["instruction"], e["output"]) for e in outcome.all_examples)
    assert found == [("d", " f"), ("g", ' "To be"')]
    assert [reason.partition(":")[0] for _, _, reason in outcome.reasons] == [
        "a blank stands before a quoted field",
        "the names of the columns again",
    ]


def test_a_parquet_column_whose_name_is_not_utf8_is_an_error(ingest, tmp_path):
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"abcd": ["a"], "output": ["b"]}), path, store_schema=False)
    path.write_bytes(path.read_bytes().replace(b"abcd", b"ab\xffd"))
    with pytest.raises(UserError, match="must be a Parquet file. Reading it fails"):
        ingest(path, columns={"instruction": "abcd", "output": "output"}).check()


def test_keys_that_nobody_reads_are_listed(ingest, write):
    turns = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A", "mask": True, "name": None}]
    record = {"chat": {"system": "Answer in French.", "turns": turns, "more": {"x": 1}}, "id": 7}
    outcome = ingest(write("a.jsonl", json.dumps(record)), columns={"messages": "chat.turns"}, carried=["chat.more.x"])
    assert reports.list_dropped_columns(outcome.file_reports, outcome.columns) == [
        "chat.system",
        "chat.turns[].mask",
        "id",
    ]


def test_parquet_columns_of_one_name_are_refused(ingest, tmp_path):
    path = tmp_path / "a.parquet"
    columns = [pyarrow.array(["a"]), pyarrow.array(["A"]), pyarrow.array(["B"])]
    pyarrow.parquet.write_table(pyarrow.table(columns, names=["instruction", "output", "output"]), path)
    with pytest.raises(UserError, match="its own name. The file has twice: 'output'"):
        ingest(path).check()


def test_blank_lines_are_no_records(ingest, write):
    report = ingest(write("a.jsonl", "\n" + LINES.replace("\n", "\n\n  \n") + "\r\n")).check()
    assert (report["rows_read"], report["blank_lines"]) == (30, 62)
    report = ingest(write("a.csv", CSV.replace("\n", "\n\n") + "\n")).check()
    assert (report["rows_read"], report["blank_lines"]) == (30, 32)


LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
GOOD = b'{"instruction": "a", "output": "b", "input": ""}'


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b'{"instruction": "a", "output"', "not JSON: Expecting ':' delimiter at byte 30"),
        (b"{'instruction': 'a'}", "not JSON: Expecting property name enclosed in double quotes at byte 2"),
        (GOOD + b" x", "not JSON: Extra data at byte 50"),
        (b'{"instruction": "\xff", "output": "b"}', "not UTF-8: byte 0xFF at byte 18"),
        (b'{"instruction": "a\\ud800", "output": "b"}', "half of a surrogate pair"),
        (b'{"instruction": "a", "output": "b", "output": "c"}', "a key stands twice in an object: 'output'"),
        (b'{"instruction": "a", "output": NaN}', "NaN and Infinity are not JSON: NaN"),
        (b'{"instruction": "a", "output": [5]}', "`output` has the wrong type: `output` must be text, is a list"),
        (b'{"instruction": "a", "output": 1e400}', "a number is too large: 1e400"),
        (
            '{"instruction": "caf\u00e9"}'.encode("cp1252"),
            "not UTF-8: byte 0xE9 at byte 21, which is 'é' in Windows-1252",
        ),
        (b'{"instruction": "a", "output": "b", "n": ' + b"9" * 5000 + b"}", "a number has too many digits"),
        (b'{"instruction": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
        (b"[1, 2]", "not an object: the record is a list"),
        (b'"text"', "not an object: the record is text"),
    ],
)
def test_a_bad_line_costs_itself_only(ingest, write, raw, reason):
    outcome = ingest(write("a.jsonl", GOOD + b"\n\n" + raw + b"\r\n" + GOOD))
    (line,) = outcome.quarantine
    assert line["reason"].startswith(reason)
    assert (line["line"], line["record"]) == (3, 2)
    assert base64.b64decode(line["raw_base64"]) == raw
    assert line["preview"].isprintable() and len(line["preview"]) <= 80
    assert outcome.check(max_bad_fraction=0.5)["rows_kept"] == 2


def test_a_bad_element_that_is_json_costs_itself_only(ingest, write):
    bad = [b'{"instruction": "\xff", "output": "b"}', b'{"instruction": "a", "output": NaN}', b"7"]
    outcome = ingest(write("a.json", b"[\n" + b",\n".join([GOOD, *bad, GOOD]) + b"\n]\n"))
    assert [(line, record) for line, record, _ in outcome.reasons] == [(3, 2), (4, 3), (5, 4)]
    assert len(outcome.all_examples) == 2


def test_an_array_with_a_syntax_error_is_an_error_with_its_place(ingest, write):
    outcome = ingest(write("a.json", b"[\n" + GOOD + b',\n{"instruction": "a" "output": "b"},\n' + GOOD + b"]"))
    with pytest.raises(
        UserError, match=r"a\.json.*Expecting ',' delimiter in record 2, at line 3, column 21 \(byte 73 "
    ):
        outcome.check()


def test_an_escaped_line_break_in_an_array_is_named(ingest, write):
    with pytest.raises(UserError, match="escape in record 1, at line 1, column 20 "):
        ingest(write("a.json", b'[{"instruction": "a\\\n", "output": "b"}]')).check()


def test_a_record_over_the_limit_is_cut_and_the_next_one_is_read(ingest, write, monkeypatch):
    monkeypatch.setattr(item, "MAX_RECORD_BYTES", 1000)
    large = b'{"instruction": "' + b"x" * 400_000 + b'", "output": "b"}'
    for name, text in [("a.jsonl", large + b"\n" + GOOD + b"\n"), ("a.json", b"[" + large + b"," + GOOD + b"]")]:
        outcome = ingest(write(name, text))
        assert len(outcome.all_examples) == 1
        assert [reason.partition(":")[0] for *_, reason in outcome.reasons] == ["larger than a record may be"]
    with pytest.raises(UserError, match="the one that starts on line 2 is not"):
        ingest(write("a.csv", b"instruction,input,output\n" + b'"' + large.replace(b'"', b"") + b'",a,b\n')).check()


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b"a,b", "too few fields: 2 fields; the header has 3"),
        (b"a,b,c,d", "too many fields: 4 fields; the header has 3"),
        (b'"a"b,c,d', "not CSV"),
        (b"\xff,b,c", "not UTF-8: byte 0xFF at byte 1, which is 'ÿ' in Windows-1252: save the file as UTF-8"),
        (b"a,\x81,c", "not UTF-8: byte 0x81 at byte 3"),
        (b",b,c", "`instruction` is empty"),
    ],
)
def test_a_bad_csv_record_costs_itself_only(ingest, write, row, reason):
    outcome = ingest(write("a.csv", b'instruction,input,output\n"two\nlines",b,c\n' + row + b"\nx,y,z\n"))
    ((line, record, text),) = outcome.reasons
    assert (line, record) == (4, 2)
    assert text.startswith(reason)
    assert sorted(e["instruction"] for e in outcome.all_examples) == ["two\nlines", "x"]


def test_csv_text_is_kept_as_it_is(ingest, write):
    outcome = ingest(write("a.csv", 'instruction,input,output\n"say ""hi"", please\r\nnow\0", é ,1.50\n'))
    (example,) = outcome.all_examples
    assert (example["instruction"], example["input"], example["output"]) == ('say "hi", please\r\nnow\0', " é ", "1.50")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.csv",
            'instruction,input,output\na,b,c\nd,"e,f\ng,h,i\n',
            "record on line 3 runs on to the end of the file",
        ),
        ("a.csv", "output,instruction,output\na,b,c\n", "twice: 'output'"),
        ("a.csv", b"instruction,input,output\xff\na,b,c\n", "Save the file as UTF-8"),
        (
            "a.csv",
            "instruction;input;output\na;b;c\n",
            "separated by commas. The first line has none, but semicolons (2)",
        ),
        ("a.csv", "instruction\tinput\toutput\na\tb\tc\n", "The first line has none, but tabs (2)"),
        ("a.csv", '"instruction";"in;put";"output"\n"a";"b";"c"\n', "The first line has none, but semicolons (2)"),
        ("a.csv", '"instruction"\t"output"\n"a"\t"b"\n', "The first line has none, but tabs (1)"),
        ("a.csv", "instruction\x01output\na\x01b\n", "The first line has none, but Ctrl-A characters (1)"),
        ("a.csv", "instruction,input,output\ra,b,c\rd,e,f\r", "carriage return alone, as old Macintosh programs do"),
        ("a.jsonl", LINES.replace("\n", "\r"), "carriage return alone, as old Macintosh programs do"),
        ("a.csv", "instruction,input,output\n", "must hold at least one record; it is empty"),
        ("a.csv", "instruction,input,output\na,b,c\xe9\n".encode("latin-1"), "'é' in Windows-1252"),
        ("a.csv", "sep=,\ninstruction,input,output\na,b,c\n", "It is `sep=`, which only Excel reads"),
        ("a.csv", "sep=;\ninstruction;output\na;b\n", "It is `sep=`, which only Excel reads"),
        ("a.csv", "instruction,output\na,b\n".encode("utf-16-le"), "NUL among its first bytes, as in UTF-16"),
        ("a.jsonl", LFS_POINTER, "is a Git LFS pointer, not the data. Run `git lfs pull`"),
        ("a.parquet", LFS_POINTER, "is a Git LFS pointer"),
        ("a.csv", "instructions,output\na,b\n", "Did you mean `instructions`"),
        (
            "a.jsonl",
            '{"question": "a", "output": "b"}\n',
            "data.columns.instruction is `instruction`, which no record has",
        ),
        ("a.jsonl", "[\n" + json.dumps(ROWS[0]) + "\n]\n", "data.format: json"),
        ("a.json", '{\n  "data": []\n}', "first line is no object by itself"),
        ("a.json", '{"data": [1]}', "Columns there are: `data`"),
        ("a.json", '"text"', "It starts with '\"'"),
        ("a.json", "\ufeff[]x", "something follows"),
        ("a.parquet", "no parquet", "must be a Parquet file"),
        ("a.parquet", "", "must be a Parquet file"),
        ("a.jsonl", "text".encode("utf-16"), "mark of UTF-16"),
        ("a.jsonl", gzip.compress(b"{}", mtime=0), "must end in `.gz`"),
    ],
)
def test_what_spoils_the_whole_file_is_an_error(ingest, write, name, content, message):
    path = write(name, content)
    with pytest.raises(UserError) as error:
        ingest(path).check()
    assert message in str(error.value)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv"])
def test_blank_lines_are_skipped_in_blocks(ingest, write, name):
    """A small `.gz` holds hundreds of millions of them."""
    many = "\r\n" * 100_000
    first, rest = CSV.split("\n", 1) if name == "a.csv" else ("", LINES)
    bad = "Say 1,x\n" if name == "a.csv" else "{\n"
    outcome = ingest(write(name, f"{first}{many}{rest}{many}{bad}{many}"))
    assert outcome.file_reports[0]["rows_read"] == 31
    # A file's first line is none of the blank ones.
    assert outcome.file_reports[0]["blank_lines"] == 300_000 - (name == "a.csv")
    assert outcome.reasons[0][0] == 200_031
    reads = []

    class Counting(io.BufferedReader):
        def readline(self, *size):
            reads.append(size)
            return super().readline(*size)

    with io.BytesIO(many.encode()) as stream:
        assert item.skip_blank_lines(Counting(stream), b"\r\n") == 100_000
    assert not reads


def test_a_pointer_in_place_of_gzip_is_named(ingest, write):
    path = write("a.jsonl.gz", LINES)
    path.write_bytes(LFS_POINTER)
    with pytest.raises(UserError, match="is a Git LFS pointer"):
        ingest(path).check()


@pytest.mark.parametrize(
    "damage", [lambda d: d[: len(d) // 2], lambda d: b"plain text", lambda d: d[:-3], lambda d: d + b"junk"]
)
def test_damaged_gzip_is_an_error(ingest, write, damage):
    path = write("a.jsonl.gz", LINES)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match="must be complete gzip data"):
        ingest(path).check()


def test_gzip_that_becomes_a_thousand_times_as_long_is_refused(ingest, write, monkeypatch):
    monkeypatch.setattr(readers, "MOST_UNPACKED", 1 << 20)
    path = write("a.jsonl.gz", LINES + "\n" * (8 << 20))
    with pytest.raises(
        UserError, match=r"not unpack to more than 200 times its size\. Received: .* bytes that have become"
    ):
        ingest(path).check()
    assert len(ingest(write("b.jsonl.gz", LINES * 2000)).all_examples) == 60_000


def test_a_flipped_bit_in_gzip_is_an_error(ingest, write):
    path = write("a.jsonl.gz", LINES)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)
    with pytest.raises(UserError, match="must be complete gzip data"):
        ingest(path).check()


def test_a_missing_file_is_an_error(ingest, tmp_path):
    with pytest.raises(UserError, match="must be a file that can be read"):
        ingest(tmp_path / "none.jsonl").check()
