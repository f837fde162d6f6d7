"""ExampleGen's reading of a file."""

import io
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet
from tensorflow.core.example import example_pb2

from components.example_gen.files import DataFile
from components.example_gen.ingest import REPORT, IngestFile
from components.example_gen.item import QUARANTINE
from components.example_gen.records import Columns
from components.text.conversation import parse_conversation

from .words import WORDS


class Records:
    """ExampleGen's reading, start to end, of one file.

    An input is a byte that chooses format and columns, and the file's bytes.
    """

    FORMATS = ("jsonl", "json", "csv", "parquet", "jsonl.gz", "csv.gz")
    COLUMNS = (
        Columns(instruction="instruction", input="input", output="output", slices=("kind",), carried=("id",)),
        Columns(messages="messages", system="system", tools="tools"),
        Columns(messages="conversations", carried=("a.b.0",)),
        Columns(text="text"),
    )
    SHARES = {"train": 0.8, "eval": 0.1, "test": 0.1}

    def __init__(self, folder: Path):
        self._folder = folder

    def __call__(self, data: bytes) -> None:
        if not data:
            return
        extension = self.FORMATS[data[0] % len(self.FORMATS)]
        columns = self.COLUMNS[data[0] // len(self.FORMATS) % len(self.COLUMNS)]
        path = self._folder / f"records.{extension}"
        path.write_bytes(data[1:])
        counts: Counter[str] = Counter()
        report: dict[str, Any] = {}
        work = IngestFile(columns, self.SHARES)
        for output in work.process(DataFile(str(path), extension.removesuffix(".gz"))):
            assert isinstance(output, beam.pvalue.TaggedOutput)
            if output.tag == REPORT:
                report = json.loads(output.value)
            elif output.tag == QUARANTINE:
                line = json.loads(output.value)
                assert line["reason"], line
                assert line["preview"].isprintable(), line
                counts["quarantined"] += 1
            else:
                self._check(example_pb2.Example.FromString(output.value))
                counts["kept"] += 1
        assert counts.total() + report["rows_left_out"] == report["rows_read"], (counts, report)
        assert counts["quarantined"] == sum(report["quarantine_reasons"].values()), report

    @staticmethod
    def _check(example: example_pb2.Example) -> None:
        for name, feature in example.features.feature.items():
            (value,) = feature.bytes_list.value
            text = value.decode()
            if name == "messages":
                json.dumps([*parse_conversation(text).messages], allow_nan=False)

    def list_seeds(self) -> Iterator[bytes]:
        """The sample data, and a few records of each form."""
        records = [
            {"instruction": "Add.", "input": "1 2", "output": "3", "kind": "math", "id": 7},
            {"instruction": "é\u202e\x00", "output": "", "kind": None},
        ]
        turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho", "weight": 0}]
        call = {"type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
        tool_turns = [
            {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "content": "1", "name": "f"},
            {"role": "assistant", "content": "Ho", "train": False},
        ]
        chats = [
            {"messages": turns, "system": "Be brief.", "tools": json.dumps([{"name": "f"}])},
            {"messages": tool_turns, "tools": [call]},
        ]
        shared = [{"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}], "a": {"b": [1]}}]
        for index, rows in enumerate((records, chats, shared, [{"text": "a b"}])):
            yield self._code("jsonl", index) + b"".join(json.dumps(row).encode() + b"\n" for row in rows)
            yield self._code("json", index) + json.dumps(rows).encode()
            with io.BytesIO() as stream:
                pa.parquet.write_table(pa.Table.from_pylist(rows[:1]), stream, compression="none")
                yield self._code("parquet", index) + stream.getvalue()
        yield self._code("csv", 0) + b'instruction,input,output,kind,id\n"a ""b""",,c,k,1\r\n"two\nlines",x,y,,2\n'
        yield self._code("csv", 0) + "\ufeffinstruction;output\na;b\n".encode()
        yield self._code("csv", 3) + 'text\n"caf\u00e9"\n'.encode("latin-1")

    def _code(self, extension: str, columns: int) -> bytes:
        return bytes([self.FORMATS.index(extension) + len(self.FORMATS) * columns])

    def list_words(self) -> list[str]:
        """Names of columns, roles and keys of turns."""
        return WORDS["records"]
