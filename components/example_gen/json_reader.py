"""Readers of JSON Lines and of JSON arrays: strict, in bounded memory."""

import re
from collections.abc import Iterator
from io import BufferedReader
from typing import Any

from components.errors import UserError
from components.example_gen import item
from components.example_gen.item import (
    HEAD_BYTES,
    UTF8_BOM,
    BadRecordError,
    FileFacts,
    Item,
    skip_blank_lines,
    too_large,
)
from components.example_gen.json_array import JSON_WHITESPACE, Position, array_error, iter_elements
from components.example_gen.json_text import JsonSyntaxError, parse_object

# The beginning of an array of objects.
_ARRAY = re.compile(rb"\[\s*(?:\{|$)")


def read_jsonl(stream: BufferedReader, facts: FileFacts, first_line: int = 1, is_json: bool = False) -> Iterator[Item]:
    """Reads JSON Lines: one object a line.

    Args:
        stream: Seeking is not needed.
        facts: Filled in on the way.
        first_line: Number of the line at which `stream` stands.
        is_json: The file is named `.json` and starts with a brace: then its first line must be an object by itself.
    """
    line_number, record = first_line - 1, 0
    while line := stream.readline(item.MAX_RECORD_BYTES + 1):
        line_number += 1
        if len(line) > item.MAX_RECORD_BYTES:
            while not line.endswith(b"\n") and (more := stream.readline(HEAD_BYTES)):
                line = line[:HEAD_BYTES] + (b"\n" if more.endswith(b"\n") else b"")
            record += 1
            yield Item(record, line_number, line[:HEAD_BYTES], None, too_large())
            continue
        line = line.removeprefix(UTF8_BOM)  # of the file, or of one that was put behind another
        raw = line.strip(JSON_WHITESPACE)
        if not raw:
            skipped = skip_blank_lines(stream, JSON_WHITESPACE)
            facts.blank_lines += 1 + skipped
            line_number += skipped
            continue
        record += 1
        if record == 1 and _ARRAY.match(raw):
            hint = (
                " If each line is such an array, make an object of it (`jq -c '{messages: .}'`)."
                if raw.endswith(b"]")
                else ""
            )
            raise UserError(
                "must be JSON Lines: one object on each line. Its first line begins with `[`, as in a JSON array. Name the file "
                f"`.json`, or set `data.format: json`.{hint}"
            )
        if record == 1 and raw == b"{" and not is_json:
            raise UserError(
                "must be JSON Lines: one object on each line. Its first line is `{` alone: its objects go over several lines. Write each "
                "on a line of its own (`jq -c .` does), or as a JSON array with `data.format: json`."
            )
        try:
            yield Item(record, line_number, raw, parse_object(raw))
        except BadRecordError as problem:
            if record == 1 and isinstance(problem, JsonSyntaxError) and raw[: problem.offset].endswith(b"\r"):
                raise UserError(
                    "lines must end with a line feed. This file ends them with a carriage return alone, as old Macintosh programs do. "
                    "Convert it, as with `tr '\\r' '\\n'`."
                ) from None
            if record == 1 and is_json and isinstance(problem, JsonSyntaxError):
                raise UserError(
                    "must be one JSON array of objects, or JSON Lines (one object on each line). It starts with `{`, but its "
                    f"first line is no object by itself: {problem.cause} at column {problem.offset + 1} of line "
                    f"{line_number}. If the records are a list inside an object, write that list to a file of its own."
                ) from None
            yield Item(record, line_number, raw, None, problem)


def read_json(stream: BufferedReader, facts: FileFacts) -> Iterator[Item]:
    """Reads a JSON array of objects, or JSON Lines that were named `.json`: the first character decides."""
    position = Position()
    if _peek(stream, 3) == UTF8_BOM:
        stream.read(3)
        position.offset = position.line_start = 3
    while (block := stream.peek(1)) and (count := len(block) - len(block.lstrip(JSON_WHITESPACE))):
        position.advance(stream.read(count))
    first = _peek(stream, 1)
    if first == b"{":
        facts.blank_lines += position.line - 1
        yield from read_jsonl(stream, facts, position.line, is_json=True)
    elif first == b"[":
        position.advance(stream.read(1))
        yield from _read_elements(stream, position)
    elif first:
        shown = first.decode("ascii", "backslashreplace")
        raise UserError(
            "must be one JSON array of objects (it starts with `[`), or JSON Lines (each line starts with `{`). It starts "
            f"with {shown!r}. Convert it, or set `data.format` if it is of another format."
        )


def _read_elements(stream: BufferedReader, position: Position) -> Iterator[Item]:
    for record, element in enumerate(iter_elements(stream, position, item.MAX_RECORD_BYTES), start=1):
        line, raw = element.position.line, element.raw
        if element.too_large:
            yield Item(record, line, raw, None, too_large())
            continue
        try:
            yield Item(record, line, raw, parse_object(raw))
        except JsonSyntaxError as error:
            place = element.position.after(raw[: error.offset])
            raise array_error(f"{error.cause} in record {record},", place) from None
        except BadRecordError as problem:
            yield Item(record, line, raw, None, problem)


def _peek(stream: Any, count: int) -> bytes:
    """Returns up to `count` of the next bytes without taking them."""
    return stream.peek(count)[:count]
