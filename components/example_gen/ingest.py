"""One data file, start to end: read, checked, mapped, split. What one Beam worker does."""

import base64
import contextlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

import apache_beam as beam
from tensorflow.core.example import example_pb2, feature_pb2

from components.errors import UserError
from components.example_gen.conversations import KNOWN_KEYS
from components.example_gen.files import DataFile
from components.example_gen.item import QUARANTINE, BadRecordError, Item
from components.example_gen.json_text import parse_json
from components.example_gen.readers import SourceFacts, read_file
from components.example_gen.records import MISSING, Columns, get_column, make_example, missing_columns_text
from components.example_gen.split import assign_split, prompt_key

REPORT = "report"
PREVIEW_CHARACTERS = 80
_MAX_COLUMN_NAMES = 100  # that a report remembers
_MOST_LISTED = 10  # items of a list, of which others have columns of their own
_MOST_PARSED = 1000  # conversations that are text, which are parsed once more for the keys of their turns


class IngestFile(beam.DoFn):
    """Turns a `DataFile` into serialized examples (tagged by split), quarantine lines and one report, the last two as JSON.

    A report holds what `components.example_gen.report.FileReport` says. It is an element like the others and not a Beam
    metric: a bundle that is tried again counts once.
    """

    def __init__(self, columns: Columns, shares: Mapping[str, float]):
        self._columns = columns
        self._shares = dict(shares)

    def process(self, element: DataFile) -> Iterator[beam.pvalue.TaggedOutput]:
        """Yields everything that comes of one file. A problem of the whole file stands in its report."""
        facts = SourceFacts()
        columns_seen = _ColumnsSeen(self._columns)
        source = PurePosixPath(element.path).name
        rows: Counter[str] = Counter()
        reasons: Counter[str] = Counter()
        error = ""
        try:
            for item in read_file(element.path, element.format, self._columns, facts):
                if not rows["read"] and facts.columns is not None:
                    columns_seen.check_header(facts.columns)
                rows["read"] += 1
                try:
                    if item.value is None:
                        raise item.problem or AssertionError("an item has a value or a problem")
                    columns_seen.add(item.value)
                    if not self._columns.is_wanted(item.value):
                        rows["left_out"] += 1
                        continue
                    example = make_example(item.value, self._columns, source)
                except BadRecordError as problem:
                    reasons[problem.kind] += 1
                    yield beam.pvalue.TaggedOutput(QUARANTINE, quarantine_line(element.path, item, problem))
                else:
                    split = assign_split(prompt_key(example, self._columns.default_system), self._shares)
                    yield beam.pvalue.TaggedOutput(split, serialize(example))
            columns_seen.check()
        except UserError as file_error:
            error = str(file_error)
        report = {
            "path": element.path,
            "format": element.format,
            "sha256": facts.sha256,
            "bytes": facts.num_bytes,
            "rows_read": rows["read"],
            "rows_left_out": rows["left_out"],
            "blank_lines": facts.blank_lines,
            "quarantine_reasons": dict(reasons),
            "columns": facts.columns or sorted(columns_seen.names),
            "columns_found": sorted(columns_seen.find(facts.columns)),
            "keys_unused": sorted(columns_seen.unused),
            "error": error,
        }
        yield beam.pvalue.TaggedOutput(REPORT, json.dumps(report))


class _ColumnsSeen:
    """Tells a column that one record lacks (bad record) from one that the whole file lacks (wrong name)."""

    def __init__(self, columns: Columns):
        self._columns = columns
        self._used = {*columns.required.values(), *columns.optional.values()}
        # Objects that the used ones are in.
        self._parents = {name[:i] for name in self._used for i, sign in enumerate(name) if sign == "."}
        self._open = set(self._used)
        self._num_parsed = 0
        self.found: set[str] = set()
        self.names: set[str] = set()
        self.unused: set[str] = set()

    def add(self, record: Mapping[str, Any]) -> None:
        """Takes in the columns of one record."""
        if len(self.names) < _MAX_COLUMN_NAMES:
            self.names.update(record)
        if len(self.unused) < _MAX_COLUMN_NAMES:
            self.unused.update(self._list_unused(record))
        if self._open:
            here = {column for column in self._open if get_column(record, column) is not MISSING}
            self._open -= here
            self.found |= here

    def _list_unused(self, record: Mapping[str, Any]) -> Iterator[str]:
        """Yields the keys inside of columns that are used, which nobody reads: beside those that are named, and of a chat's turns."""
        for parent in self._parents:
            value = get_column(record, parent)
            keys = (
                value
                if isinstance(value, Mapping)
                else range(min(len(value), _MOST_LISTED))
                if isinstance(value, list)
                else ()
            )
            for key in keys:
                name = f"{parent}.{key}"
                if name not in self._used and name not in self._parents:
                    yield name
        turns = get_column(record, self._columns.messages) if self._columns.messages else None
        if isinstance(turns, str) and self._num_parsed < _MOST_PARSED:
            self._num_parsed += 1
            with contextlib.suppress(BadRecordError):
                turns = parse_json(turns.encode("utf-8", "surrogatepass"))
        for turn in turns if isinstance(turns, list) else ():
            for key in turn.keys() - KNOWN_KEYS if isinstance(turn, Mapping) else ():
                if turn[key] is not None:
                    yield f"{self._columns.messages}[].{key}"

    def find(self, header: list[str] | None) -> set[str]:
        """Returns the columns that are there: of a file without a record that can be read, by its header."""
        if header is None or self.names:
            return self.found
        return {name for name in self._used if name in header or name.partition(".")[0] in header}

    def check_header(self, header: list[str]) -> None:
        """Checks, before any record is read, that the file can have the columns that every record must have."""
        # Only the first part of a dotted name stands in a header.
        missing = {
            option: column
            for option, column in self._columns.required.items()
            if column not in header and column.partition(".")[0] not in header
        }
        if missing:
            raise UserError(missing_columns_text(missing, header))

    def check(self) -> None:
        """Checks that at least one record had each column that every record must have."""
        missing = {o: c for o, c in self._columns.required.items() if c not in self.found}
        if missing and self.names:
            raise UserError(missing_columns_text(missing, sorted(self.names)))


def serialize(example: Mapping[str, str]) -> bytes:
    """Returns a `tf.train.Example` with one bytes value a feature, its features in order of their names."""
    feature = {
        name: feature_pb2.Feature(bytes_list=feature_pb2.BytesList(value=[text.encode()]))
        for name, text in example.items()
    }
    proto = example_pb2.Example(features=feature_pb2.Features(feature=feature))
    return proto.SerializeToString(deterministic=True)


def quarantine_line(path: str, item: Item, problem: BadRecordError) -> str:
    """Returns a quarantined record as one line of JSON.

    Its keys: `file`; `line` (from 1, where the record starts; null in Parquet); `record` (from 1, in the file);
    `reason`; `raw_base64` (the record's bytes); `preview` (its first characters, unprintable ones replaced).
    """
    raw = item.raw_bytes()
    line = {
        "file": path,
        "line": item.line,
        "record": item.record,
        "reason": str(problem),
        "raw_base64": base64.b64encode(raw).decode(),
        "preview": preview(raw),
    }
    return json.dumps(line)


def preview(raw: bytes) -> str:
    """Returns the first characters of a record, on one line and printable."""
    text = raw[: PREVIEW_CHARACTERS * 4].decode("utf-8", "replace")
    printable = "".join(c if c.isprintable() else " " if c.isspace() else "\ufffd" for c in text)
    return printable if len(printable) <= PREVIEW_CHARACTERS else printable[: PREVIEW_CHARACTERS - 3] + "..."
