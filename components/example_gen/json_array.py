"""The elements of a JSON array, in bounded memory.

Only the array's own commas are looked for; each element is then parsed by the same strict parser as a line of JSON Lines.
A streaming parser library was rejected: the fast ones replace a lone surrogate by "?" and drop repeated keys silently, and
none hands out the bytes of a record that has to be quarantined.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

from components.errors import UserError

JSON_WHITESPACE = b" \t\r\n"
_CHUNK_BYTES = 1 << 18
_OUTSIDE_STRING = re.compile(rb'["\[\]{},]')
# Up to the quote that ends a string. Possessive (`++`, `*+`): without it each escape costs memory for going back.
_INSIDE_STRING = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
_QUOTE, _OPEN, _CLOSE, _COMMA = ord('"'), b"[{", b"]}", ord(",")


@dataclass
class Position:
    """A place in a file: 0-based byte offset, 1-based line, and the offset at which that line starts."""

    offset: int = 0
    line: int = 1
    line_start: int = 0

    def advance(self, data: bytes | bytearray) -> None:
        """Moves to behind `data`, which starts here."""
        if count := data.count(b"\n"):
            self.line += count
            self.line_start = self.offset + data.rfind(b"\n") + 1
        self.offset += len(data)

    def after(self, data: bytes | bytearray) -> "Position":
        """Returns the place behind `data`, which starts here."""
        result = Position(self.offset, self.line, self.line_start)
        result.advance(data)
        return result

    def __str__(self) -> str:
        return f"line {self.line}, column {self.offset - self.line_start + 1} (byte {self.offset + 1} of the file)"


class Element(NamedTuple):
    """One element: where it starts, its bytes, and whether they were cut because it is larger than the limit."""

    position: Position
    raw: bytes
    too_large: bool


def array_error(cause: str, position: Position) -> UserError:
    """Returns the error of a file that is no JSON array."""
    return UserError(
        f"must be one JSON array of objects; {cause} at {position}. What follows a syntax error cannot be told apart "
        "reliably, so nothing is read. Fix the file, or write JSON Lines (one object a line, `.jsonl`), where a broken "
        "line costs that line only."
    )


def iter_elements(stream: BinaryIO, position: Position, limit: int) -> Iterator[Element]:
    """Yields the elements of an array.

    Args:
        stream: Stands behind the opening bracket.
        position: That place in the file.
        limit: Most bytes of an element that are held; a larger one is yielded cut, as `too_large`.

    Raises:
        UserError: If an element is missing, the array is not closed, or something follows it.
    """
    buffer = bytearray()  # starts where the element starts
    cut: Element | None = None  # the start of an element over the limit
    scan = depth = 0
    in_string, is_first = False, True
    while True:
        if in_string:
            match = _INSIDE_STRING.match(buffer, scan)
            end = match.end() if match else scan
            # A backslash is left over where the buffer ends between it and what it escapes.
            is_found = end < len(buffer) and buffer[end] == _QUOTE
        else:
            match = _OUTSIDE_STRING.search(buffer, scan)
            end, is_found = (match.start(), True) if match else (len(buffer), False)
        if not is_found:
            if end > limit:
                if cut is None:
                    head = bytes(buffer[:_CHUNK_BYTES])
                    body = head.lstrip(JSON_WHITESPACE)
                    cut = Element(position.after(head[: len(head) - len(body)]), body, True)
                position.advance(buffer[:end])
                del buffer[:end]
                end = 0
            scan = end
            chunk = stream.read(_CHUNK_BYTES)
            if not chunk:
                cause = "a string is not closed" if in_string else "the array is not closed"
                raise array_error(f"{cause} where the file ends,", position.after(buffer))
            buffer += chunk
            continue
        byte, scan = buffer[end], end + 1
        if in_string:
            in_string = False
        elif byte == _QUOTE:
            in_string = True
        elif byte in _OPEN:
            depth += 1
        elif byte in _CLOSE and depth:
            depth -= 1
        elif byte == _COMMA and depth:
            pass
        else:  # the comma behind an element, or the bracket that closes the array
            raw, is_last = bytes(buffer[:end]), byte != _COMMA
            body = raw.lstrip(JSON_WHITESPACE)
            position.advance(raw[: len(raw) - len(body)])
            if buffer[end : end + 1] == b"}":
                raise array_error("a brace closes nothing", position.after(body))
            if body or cut:
                yield cut or Element(position.after(b""), body.rstrip(JSON_WHITESPACE), False)
            elif not (is_last and is_first):
                raise array_error("a value is missing", position)
            position.advance(body)
            position.advance(buffer[end : end + 1])
            del buffer[: end + 1]
            cut, scan, is_first = None, 0, False
            if is_last:
                break
    rest = bytes(buffer) or stream.read(_CHUNK_BYTES)
    while rest:
        body = rest.lstrip(JSON_WHITESPACE)
        position.advance(rest[: len(rest) - len(body)])
        if body:
            raise array_error("something follows the end of the array", position)
        rest = stream.read(_CHUNK_BYTES)
