"""Texts of the store as a drawing shows them: harmless, short, and in words."""

import json
import math
import unicodedata
from typing import Any

from components import harmless

# Of JSON; below so many spaces it is no more taken apart, whatever the depth.
_LINE_WIDTH, _MAX_MARGIN = 60, 40
# No document may hold code points without meaning either.
_HIDDEN = harmless.HIDDEN | {"Cn"}


def make_line(text: str) -> str:
    """Returns the text as one line without characters that show nothing, reorder others, or may stand in no document."""
    return " ".join("".join(_show(char, " ") for char in text).split())


def make_block(text: str) -> str:
    """Like `make_line`, but keeps line ends, tabs and spaces."""
    return "".join(_show(char, char) for char in text.replace("\r\n", "\n"))


def measure(text: str) -> float:
    """Returns how wide a text is about, in average characters of a proportional font."""
    return sum(_measure(char) for char in text)


def shorten(text: str, width: float) -> str:
    """Returns the text, or its beginning with an ellipsis if it is wider than so many average characters."""
    if measure(text) <= width:
        return text
    kept, used = "", 1.0
    for char in text:
        used += _measure(char)
        if used > width:
            break
        kept += char
    return kept.rstrip() + "…"


def shorten_middle(text: str, length: int) -> str:
    """Returns the text, or its beginning and its end if it has more than so many characters: for places."""
    return text if len(text) <= length else f"{text[: length // 3]}…{text[-(length - length // 3 - 1) :]}"


def make_plain(value: Any) -> Any:
    """Returns a value of the store as JSON can hold it, which knows no infinity and no NaN."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {str(key): make_plain(held) for key, held in value.items()}
    return [make_plain(held) for held in value] if isinstance(value, list | tuple) else value


def format_value(value: Any) -> tuple[str, bool]:
    """Returns a property's value as text, and whether that is JSON: text that holds an object or a list is indented."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return value, False
    if isinstance(value, dict | list):
        return _indent(value, ""), True
    return (value if isinstance(value, str) else json.dumps(value)), False


def _indent(value: Any, margin: str) -> str:
    """Returns JSON in which what fits on a line stands on one: a list of numbers, above all."""
    line = json.dumps(value, ensure_ascii=False)
    if len(margin) + len(line) <= _LINE_WIDTH or not isinstance(value, dict | list) or len(margin) > _MAX_MARGIN:
        return line
    inner = margin + "  "
    if isinstance(value, list):
        parts = [_indent(held, inner) for held in value]
    else:
        parts = [f"{json.dumps(key, ensure_ascii=False)}: {_indent(held, inner)}" for key, held in value.items()]
    opening, closing = "[]" if isinstance(value, list) else "{}"
    return f"{opening}\n{inner}" + f",\n{inner}".join(parts) + f"\n{margin}{closing}"


def _show(char: str, blank: str) -> str:
    if char in "\n\t":
        return blank
    return harmless.show_character(char, _HIDDEN)


def _measure(char: str) -> float:
    if unicodedata.east_asian_width(char) in "WF":
        return 1.9
    if unicodedata.combining(char):
        return 0.0
    return 1.45 if char in "mwMW@%" else 1.2 if char.isupper() else 0.55 if char in "iljtfr.,:;'|!()[] " else 1.0
