"""Reader of CSV: strict, in bounded memory."""

import csv
from collections.abc import Iterator
from typing import BinaryIO

from components.errors import UserError
from components.example_gen import item
from components.example_gen.item import UTF8_BOM, BadRecordError, FileFacts, Item, check_names, describe_bad_byte

_OTHER_DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}


class _CsvLines:
    """The lines of a CSV file as text, remembering the bytes and the first line of the record that is being read."""

    def __init__(self, stream: BinaryIO):
        self._stream = stream
        self.line_number = 0
        self.at_end = False
        self.start_record()

    def start_record(self) -> None:
        self.raw = bytearray()
        self.first_line = self.line_number + 1
        self.is_utf8 = True

    def __iter__(self) -> "_CsvLines":
        return self

    def __next__(self) -> str:
        line = self._stream.readline(item.MAX_RECORD_BYTES + 1)
        if not line:
            self.at_end = True
            raise StopIteration
        self.line_number += 1
        if self.line_number == 1:
            line = line.removeprefix(UTF8_BOM)
        self.raw += line
        if len(self.raw) > item.MAX_RECORD_BYTES:
            raise UserError(
                f"a record must be smaller than {item.MAX_RECORD_BYTES >> 20} MiB; the one that starts on line {self.first_line} "
                "is not. Most often a quote that opens there is never closed: close it, or write it twice if it is text."
            )
        try:
            return line.decode()
        except UnicodeDecodeError:
            self.is_utf8 = False
            return line.decode("utf-8", "surrogateescape")


def read_csv(stream: BinaryIO, facts: FileFacts) -> Iterator[Item]:
    """Reads CSV (RFC 4180: commas, double quotes, quotes inside text doubled); the first record names the columns."""
    # A setting of the whole process; its default of 128 KiB is less than a long document. `_CsvLines` sets the limit.
    csv.field_size_limit(max(csv.field_size_limit(), item.MAX_RECORD_BYTES + 1))
    lines = _CsvLines(stream)
    rows = csv.reader(lines, strict=True)  # not strict would drop quotes silently
    header: list[str] | None = None
    record = 0
    while True:
        lines.start_record()
        problem, row = None, []
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            if lines.at_end:
                raise UserError(
                    f"every quote must be closed; the one that opens in the record on line {lines.first_line} runs on to "
                    "the end of the file. Close it, or write it twice if it is text."
                ) from None
            problem = BadRecordError("not CSV", str(error))
        if not row and not problem:
            facts.blank_lines += 1
            continue
        if not lines.is_utf8:
            problem = _find_bad_byte(bytes(lines.raw))
        if header is None:
            header = facts.columns = _check_header(row, problem)
            continue
        record += 1
        if problem is None and len(row) != len(header):
            detail = f"{len(row)} fields; the header has {len(header)}"
            problem = BadRecordError("too few fields" if len(row) < len(header) else "too many fields", detail)
        raw = bytes(lines.raw).rstrip(b"\r\n")
        value = None if problem else dict(zip(header, row, strict=True))
        yield Item(record, lines.first_line, raw, value, problem)


def _check_header(header: list[str], problem: BadRecordError | None) -> list[str]:
    if problem:
        raise UserError(f"the first line must name the columns, in UTF-8. It is {problem}. Save the file as UTF-8 CSV.")
    first = header[0]
    if first.lower().startswith("sep=") and len(header) <= 2:
        raise UserError("the first line must name the columns. It is `sep=`, which only Excel reads. Remove that line.")
    for delimiter, name in _OTHER_DELIMITERS.items():
        if len(header) == 1 and delimiter in first:
            raise UserError(
                f"columns must be separated by commas. The first line has none, but {name} ({first.count(delimiter)}). Save the "
                "file with commas, or as JSON Lines."
            )
    check_names(header)
    return header


def _find_bad_byte(raw: bytes) -> BadRecordError:
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        return BadRecordError("not UTF-8", describe_bad_byte(raw, error.start))
    return BadRecordError("not UTF-8")
