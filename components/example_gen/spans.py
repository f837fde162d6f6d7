"""Data that comes in spans: paths with `{SPAN}`, or `{YYYY}`, `{MM}` and `{DD}`, and the newest of them."""

import datetime
import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from components.errors import UserError

_SPAN = "{SPAN}"
_DATE = ("{YYYY}", "{MM}", "{DD}")
_PATTERNS = {_SPAN: r"(\d+)", "{YYYY}": r"(\d{4})", "{MM}": r"(\d{2})", "{DD}": r"(\d{2})"}
_PLACEHOLDER = re.compile(r"\{[^{}]*\}")
_MOST = 2**63 - 1
_EPOCH = datetime.date(1970, 1, 1)


class Span(NamedTuple):
    """One span of the data.

    Attributes:
        number: What `{SPAN}` stands for, or the days since 1970-01-01, as TFX counts dates.
        path: The path with its placeholders filled in.
    """

    number: int
    path: str


def has_placeholders(path: str) -> bool:
    """Returns whether a path names spans rather than files."""
    return any(name in path for name in _PATTERNS)


def find_problem(path: str) -> str | None:
    """Returns what is wrong with the placeholders of a path: the rule, what was received, the way out."""
    found = set(_PLACEHOLDER.findall(path))
    if unknown := sorted(found - set(_PATTERNS)):
        return f"may hold the placeholders {', '.join(_PATTERNS)}, and no other braces. Received: {', '.join(unknown)} in {path!r}."
    if found and (signs := sorted({c for part in path.split("/")[:-1] for c in part if c in "*?["})):
        return f"may have `*`, `?` and `[` in its last part only. Received: {', '.join(signs)} before it, in {path!r}. Rename the folder."
    if not found or found in ({_SPAN}, set(_DATE)):
        return None
    return f"must hold {_SPAN} alone, or {', '.join(_DATE)} together, so that spans have an order. Received: {path!r}."


def find_spans(path: str, window: int, glob: Callable[[str], Iterable[str]]) -> list[Span]:
    """Returns the newest spans that are there, in order.

    Args:
        path: With placeholders; after the last part that has one, the path is taken as it is.
        window: How many at most.
        glob: Lists what matches a pattern with `*`.

    Raises:
        UserError: If there is none.
    """
    parts = path.split("/")
    last = max(i for i, part in enumerate(parts) if has_placeholders(part))
    head, rest = "/".join(parts[: last + 1]), "/".join(["", *parts[last + 1 :]])
    pattern = head
    for name in _PATTERNS:
        pattern = pattern.replace(name, "*")
    spans: dict[int, str] = {}
    expression, names = _make_expression(head)
    for found in sorted(glob(pattern)):
        match = expression.fullmatch(found.rstrip("/"))
        values = _read_values(names, match.groups()) if match else None
        number = _to_number(values) if values else None
        if values and number is not None:
            place = _fill(head, values) + rest
            if number > _MOST:
                raise UserError(
                    f"data.path: a span must be a number of at most {len(str(_MOST)) - 1} digits. Received: {place}."
                )
            if spans.get(number, place) != place:
                raise UserError(
                    f"data.path: each span must be there once. Received: {spans[number]} and {place}. Rename one of them."
                )
            spans[number] = place
    if not spans:
        raise UserError(
            f"data.path: at least one span must be there, and none is: nothing matches {pattern} with numbers (or a date) "
            f"in place of the placeholders of {path!r}."
        )
    return [Span(number, spans[number]) for number in sorted(spans)[-window:]]


def _make_expression(head: str) -> tuple[re.Pattern[str], list[str]]:
    names = [name for name in _PLACEHOLDER.findall(head) if name in _PATTERNS]
    pieces = re.split("|".join(map(re.escape, _PATTERNS)), head)
    # The user's own `*` and `?`, in the last part.
    escaped = [re.escape(piece).replace(r"\*", "[^/]*").replace(r"\?", "[^/]") for piece in pieces]
    text = escaped[0]
    for name, piece in zip(names, escaped[1:], strict=True):
        text += _PATTERNS[name] + piece
    return re.compile(text), names


def _read_values(names: list[str], groups: tuple[str, ...]) -> dict[str, str] | None:
    """Returns the text of each placeholder; None if one that stands twice has two values."""
    values: dict[str, str] = {}
    for name, text in zip(names, groups, strict=True):
        if values.setdefault(name, text) != text:
            return None
    return values


def _to_number(values: dict[str, str]) -> int | None:
    if _SPAN in values:
        return int(values[_SPAN])
    try:
        return (datetime.date(*(int(values[name]) for name in _DATE)) - _EPOCH).days
    except ValueError:  # such as the 30th of February
        return None


def _fill(head: str, values: dict[str, str]) -> str:
    for name, text in values.items():
        head = head.replace(name, text)
    return head
