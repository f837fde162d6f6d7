"""What a reader yields: records as they stand in a file, or why they cannot be read."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from io import BufferedReader
from typing import Any, NamedTuple

from components.errors import UserError

MISSING = object()  # a column that the record does not have, as opposed to one that is null

QUARANTINE = "quarantine"  # where bad records go: name of the Beam output and of the folder

# More than any sane record; what an unclosed quote can pull into memory at most.
MAX_RECORD_BYTES = 64 << 20
# Of what a file holds in packed form: below the first, any ratio will do.
MOST_UNPACKED, MOST_RATIO = 256 << 20, 200
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
    if value is None:
        return "null"
    return next((name for kind, name in _TYPE_NAMES.items() if isinstance(value, kind)), f"a {type(value).__name__}")


def write_scalar(value: Any) -> Any:
    """Returns the text of a number or a truth value, and anything else as it is: labels are often such, and in CSV they are text anyhow."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else value


def check_names(columns: Sequence[str]) -> None:
    """Checks that the columns of a file can be told apart.

    Raises:
        UserError: Two have one name.
    """
    if repeated := sorted(name for name, count in Counter(columns).items() if count > 1):
        shown = ", ".join(repr(name)[:80] for name in repeated[:10]) + (", ..." if len(repeated) > 10 else "")
        raise UserError(f"each column must have its own name. The file has twice: {shown}.")


def skip_blank_lines(stream: BufferedReader, blanks: bytes) -> int:
    """Skips whole lines of nothing but blanks, a block at a time: a small `.gz` can hold hundreds of millions.

    Args:
        stream: At the beginning of a line.
        blanks: What may stand in such a line, line ends among them.

    Returns:
        How many lines.
    """
    count = 0
    while block := stream.peek(1):
        end = block.rfind(b"\n", 0, len(block) - len(block.lstrip(blanks))) + 1
        if not end:
            break
        count += block.count(b"\n", 0, end)
        stream.read(end)
    return count


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
