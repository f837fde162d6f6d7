"""What a reader yields: records as they stand in a file, or why they cannot be read."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from components.errors import UserError

MISSING = object()  # a column that the record does not have, as opposed to one that is null

QUARANTINE = "quarantine"  # where bad records go: name of the Beam output and of the folder

# More than any sane record; what an unclosed quote can pull into memory at most.
MAX_RECORD_BYTES = 64 << 20
HEAD_BYTES = 1 << 18  # what is kept of a record over the limit
UTF8_BOM = b"\xef\xbb\xbf"


_TYPE_NAMES = {bool: "a boolean", int: "a number", float: "a number", str: "text", list: "a list", dict: "an object"}


class BadRecordError(Exception):
    """A record that goes to the quarantine.

    Attributes:
        kind: What is wrong, one of few texts, so that the report can count them.
        detail: What exactly, in this record; may be empty.
    """

    def __init__(self, kind: str, detail: str = ""):
        super().__init__(f"{kind}: {detail}" if detail else kind)
        self.kind = kind
        self.detail = detail

    def __reduce__(self) -> tuple[Any, ...]:
        return (BadRecordError, (self.kind, self.detail))


def type_name(value: Any) -> str:
    """Returns the type of a value in the words of a data file."""
    return "null" if value is None else _TYPE_NAMES.get(type(value), f"a {type(value).__name__}")


def check_names(columns: Sequence[str]) -> None:
    """Checks that the columns of a file can be told apart.

    Raises:
        UserError: Two have one name.
    """
    if repeated := sorted({name for name in columns if columns.count(name) > 1}):
        raise UserError(f"each column must have its own name. The file has twice: {', '.join(map(repr, repeated))}.")


def describe_bad_byte(raw: bytes, place: int) -> str:
    """Says which byte of a text is not UTF-8, and what it is where the text is in the encoding that is likely then.

    Args:
        raw: The text.
        place: Of the byte.
    """
    try:
        likely = f", which is {raw[place : place + 1].decode('cp1252')!r} in Windows-1252: save the file as UTF-8"
    except UnicodeDecodeError:
        likely = ""
    return f"byte 0x{raw[place]:02X} at byte {place + 1}{likely}"


class Item(NamedTuple):
    """One record as read: its place, its bytes (None: `json.dumps(value)`), and its value or why there is none."""

    record: int
    line: int | None
    raw: bytes | None
    value: dict[str, Any] | None
    problem: BadRecordError | None = None

    def raw_bytes(self) -> bytes:
        """Returns the record as it stands in the file; for Parquet, which has no text, as JSON."""
        if self.raw is not None:
            return self.raw
        return json.dumps(self.value, ensure_ascii=False, default=str).encode("utf-8", "surrogatepass")


@dataclass
class FileFacts:
    """What a reader learns on the way: the columns, where the file itself names them, and skipped blank lines."""

    columns: list[str] | None = None
    blank_lines: int = 0


def too_large() -> BadRecordError:
    """Returns the problem of a record over the limit."""
    return BadRecordError(
        "larger than a record may be", f"the limit is {MAX_RECORD_BYTES >> 20} MiB; the start is kept here"
    )
