"""Strict JSON: what `json.loads` lets pass silently (repeated keys, NaN) is an error here."""

import json
import math
from typing import Any, Self

from components.example_gen.item import BadRecordError, describe_bad_byte, type_name


class JsonSyntaxError(BadRecordError):
    """Text that is not JSON; `offset` is the byte at which that shows, `cause` says why."""

    def __init__(self, cause: str, offset: int):
        super().__init__("not JSON", f"{cause} at byte {offset + 1}")
        self.cause = cause
        self.offset = offset

    def __reduce__(self) -> tuple[Any, ...]:
        return (JsonSyntaxError, (self.cause, self.offset))


def parse_json(raw: bytes) -> Any:
    """Parses one JSON value.

    Raises:
        JsonSyntaxError: If the text is not JSON.
        BadRecordError: If the bytes are not UTF-8, a key stands twice in an object, a number is NaN, infinite or has
            thousands of digits, or the nesting is deeper than Python can follow.
    """
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise BadRecordError("not UTF-8", describe_bad_byte(raw, error.start)) from None
    try:
        return json.loads(
            text, object_pairs_hook=_make_object, parse_constant=_reject_constant, parse_float=_parse_float
        )
    except json.JSONDecodeError as error:
        raise JsonSyntaxError(error.msg, len(text[: error.pos].encode())) from None
    except RecursionError:
        raise BadRecordError("nested too deeply") from None
    except ValueError:
        raise BadRecordError("a number has too many digits") from None


def parse_object(raw: bytes) -> dict[str, Any]:
    """Parses a record: one JSON object.

    Raises:
        BadRecordError: As `parse_json`, and if the value is not an object.
    """
    value = parse_json(raw)
    if not isinstance(value, dict):
        raise BadRecordError("not an object", f"the record is {type_name(value)}")
    return value


def _make_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        seen: set[str] = set()
        # `add` returns None, so the generator stops at the first key that was there before.
        repeated = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise BadRecordError("a key stands twice in an object", f"{repeated!r}"[:200])
    return result


class WrittenFloat(float):
    """A number that keeps how it is written: `1.10` may be a version, and `1e2` is no `100.0`."""

    _text: str

    def __new__(cls, text: str) -> Self:
        """Takes the number's text."""
        number = super().__new__(cls, text)
        number._text = text
        return number

    def __str__(self) -> str:
        return self._text


def _parse_float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise BadRecordError("a number is too large", text[:50])
    return value if str(value) == text else WrittenFloat(text)


def _reject_constant(name: str) -> Any:
    raise BadRecordError("NaN and Infinity are not JSON", name)
