"""Reader of CSV: strict, in bounded memory."""

import csv
import re
from collections.abc import Iterator
from io import BufferedReader

from components.errors import UserError
from components.example_gen import item
from components.example_gen.item import (
    UTF8_BOM,
    BadRecordError,
    FileFacts,
    Item,
    check_names,
    describe_bad_byte,
    skip_blank_lines,
)

_OTHER_DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "vertical bars", "\x01": "Ctrl-A characters"}
# A quote opens a field where it is the first character; behind a blank it is text.
_QUOTED = re.compile(r'\s+"(?s:.*)"\s*')


class _CsvLines:
    """The lines of a CSV file as text, remembering the bytes and the first line of the record that is being read."""

    def __init__(self, stream: BufferedReader):
        self._stream = stream
        self.line_number = 0
        self.at_end = False
        self.start_record()

    def start_record(self) -> None:
        self.raw = bytearray()
        self.first_line = self.line_number + 1
        self.is_utf8 = True

    def skip_blank(self) -> int:
        """Skips empty lines between two records; returns how many."""
        skipped = skip_blank_lines(self._stream, b"\r\n")
        self.line_number += skipped
        return skipped

    def __iter__(self) -> "_CsvLines":
        return self

    def __next__(self) -> str:
        line = self._stream.readline(item.MAX_RECORD_BYTES + 1)
        if not line:
            self.at_end = True
            raise StopIteration
        self.line_number += 1
        if not self.raw:
            line = line.removeprefix(UTF8_BOM)  # of the file, or of one that was put behind another
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


def read_csv(stream: BufferedReader, facts: FileFacts) -> Iterator[Item]:
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
            facts.blank_lines += 1 + lines.skip_blank()
            continue
        if not lines.is_utf8:
            problem = _find_bad_byte(bytes(lines.raw))
        if header is None:
            header = facts.columns = _check_header(row, problem, bytes(lines.raw))
            continue
        record += 1
        if problem is None and len(row) != len(header):
            detail = f"{len(row)} fields; the header has {len(header)}"
            problem = BadRecordError("too few fields" if len(row) < len(header) else "too many fields", detail)
        if problem is None and row == header:
            problem = BadRecordError("the names of the columns again", "as where files were joined")
        raw = bytes(lines.raw).rstrip(b"\r\n")
        if problem is None and (name := _find_quoted(header, row, raw)):
            detail = f"`{name}`: take the blank away, or else the quotes are part of the text"
            problem = BadRecordError("a blank stands before a quoted field", detail)
        value = None if problem else dict(zip(header, row, strict=True))
        yield Item(record, lines.first_line, raw, value, problem)


def _check_header(header: list[str], problem: BadRecordError | None, raw: bytes) -> list[str]:
    if b"\r" in raw.rstrip(b"\r\n") and b"\n" not in raw.rstrip(b"\n"):
        raise UserError(
            "lines must end with a line feed. This file ends them with a carriage return alone, as old Macintosh programs do "
            "(`CSV (Macintosh)`). Save it as UTF-8 CSV."
        )
    if problem and (found := _find_delimiter(raw.decode("utf-8", "replace"))):
        raise UserError(_explain_delimiter(*found))
    if problem:
        raise UserError(f"the first line must name the columns, in UTF-8. It is {problem}. Save the file as UTF-8 CSV.")
    first = header[0]
    if first.lower().startswith("sep=") and len(header) <= 2:
        raise UserError("the first line must name the columns. It is `sep=`, which only Excel reads. Remove that line.")
    if len(header) == 1 and (found := _find_delimiter(first)):
        raise UserError(_explain_delimiter(*found))
    check_names(header)
    return header


def _find_quoted(header: list[str], row: list[str], raw: bytes) -> str:
    """Returns the column of a field that looks quoted and is not, for a blank before it; "" if none does.

    A field that is quoted, and whose text is such, has its own quotes doubled in the file.
    """
    return next(
        (name for name, field in zip(header, row, strict=True) if _QUOTED.fullmatch(field) and field.encode() in raw),
        "",
    )


def _find_delimiter(line: str) -> tuple[str, int] | None:
    """Returns in words what separates the names in a first line that has no commas, and how often; None if nothing that is known does."""
    outside = re.sub(r'"(?:[^"]|"")*"', "", line)
    if "," in outside:
        return None
    return next(((name, outside.count(sign)) for sign, name in _OTHER_DELIMITERS.items() if sign in outside), None)


def _explain_delimiter(name: str, count: int) -> str:
    return (
        f"columns must be separated by commas. The first line has none, but {name} ({count}). Save the file with commas, or as JSON "
        "Lines."
    )


def _find_bad_byte(raw: bytes) -> BadRecordError:
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        return BadRecordError("not UTF-8", describe_bad_byte(raw, error.start))
    return BadRecordError("not UTF-8")
