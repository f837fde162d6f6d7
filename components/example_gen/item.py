"""What a reader yields: records as they stand in a file, or why they cannot be read."""

import json
from dataclasses import dataclass
from typing import Any, NamedTuple

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
