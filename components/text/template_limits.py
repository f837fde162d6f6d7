"""How much a chat template may make: limits on each operation, filter and call, before it is done.

A template is code of somebody else. What an operation makes can be far longer than what it is given; these functions say how long at
most, and raise `TemplateLimitError` where that is more than any conversation needs.
"""

import itertools
import re
from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, Sequence, ValuesView
from typing import Any

from jinja2.utils import Namespace

# Turns of all loops and macros of one rendering; CPU seconds of one; characters of its text, of any text on the way, and of what a list
# or an object would be as text; and characters of all texts on the way together, to which an item of a list counts as `ITEM`.
MAX_TURNS = 1_000_000
MAX_SECONDS = 10.0
MAX_CHARACTERS = 1 << 24
MAX_ALL_CHARACTERS = 1 << 28
ITEM = 16
_MAX_BITS = 1 << 12
_MAX_DEPTH = 200
_NUMBER = re.compile(r"\d+")
# In a format with `%`: flags, and the digits of width and precision. In one with braces: what stands behind a colon.
_PERCENT = re.compile(r"%(?:\([^)]*\))?[-#0 +]*([\d.*]*)")
_FIELD = re.compile(r"\{[^{}]*?:([^{}]*)\}")
_FIELD_INSIDE = re.compile(r"\{[^{}]*\{")
_LINE_ENDS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
# Filters whose time grows faster than their text, and how long that may be.
_SLOW_FILTERS, _MAX_SLOW = ("pprint", "striptags", "sum", "urlize", "wordwrap"), 20_000
# Filters that make no text of a list or an object, but take it as such; all others write it out.
_OF_CONTAINERS = frozenset(
    [
        "attr",
        "batch",
        "count",
        "d",
        "default",
        "dictsort",
        "first",
        "groupby",
        "items",
        "join",
        "last",
        "length",
        "list",
        "map",
        "max",
        "min",
        "random",
        "reject",
        "rejectattr",
        "reverse",
        "select",
        "selectattr",
        "slice",
        "sort",
        "unique",
    ]
)


class TemplateLimitError(Exception):
    """A template takes more time or memory than any conversation needs."""


def check_length(value: Any) -> Any:
    """Returns a value unless it is a text that is too long."""
    if isinstance(value, str) and len(value) > MAX_CHARACTERS:
        raise TemplateLimitError(f"it makes a text of more than {MAX_CHARACTERS:,} characters")
    return value


def measure(value: Any) -> int:
    """Returns about how many characters a value has as text; what stands in several places counts in each.

    A part of a list or an object counts as `ITEM` besides. Above twice `MAX_CHARACTERS` the number is only a lower bound.
    """
    sizes: dict[int, int] = {}

    def look(item: Any, depth: int) -> int:
        if isinstance(item, str | bytes | bytearray):
            return len(item)
        if isinstance(item, int):
            return 1 + item.bit_length() // 3
        held = getattr(item, "_Namespace__attrs", None) if isinstance(item, Namespace) else item
        if isinstance(held, KeysView | ValuesView | ItemsView):
            held = getattr(held, "mapping", held)
        if isinstance(held, Mapping):
            parts: Iterable[Any] = itertools.chain(held.keys(), held.values())
        elif isinstance(held, list | tuple | set | frozenset):
            parts = held
        else:
            return 1
        if depth > _MAX_DEPTH:
            raise TemplateLimitError(f"it nests something more than {_MAX_DEPTH} deep")
        if id(held) not in sizes:
            total = 0
            for part in parts:
                total += ITEM + (len(part) if isinstance(part, str) else look(part, depth + 1))
                if total > 2 * MAX_CHARACTERS:
                    break
            sizes[id(held)] = total
        return sizes[id(held)]

    return look(value, 0)


def _as_number(value: Any) -> int:
    return min(max(value, 0), MAX_CHARACTERS) if isinstance(value, int) else 0


def check_size(value: Any, times: int = 1) -> None:
    """Checks that a value, so many times, is not too long as text."""
    if isinstance(value, str) and times == 1:
        check_length(value)
    elif measure(value) * times > MAX_CHARACTERS:
        raise TemplateLimitError(f"it makes something that is longer than {MAX_CHARACTERS:,} characters as text")


def collect(values: Any) -> Any:
    """Returns a sequence, or what an iterator yields as a list, unless that is too long."""
    if not isinstance(values, Iterator):
        return values
    found, length = [], 0
    for value in values:
        length += measure(value) + 1
        if length > MAX_CHARACTERS:
            raise TemplateLimitError(f"it joins more than {MAX_CHARACTERS:,} characters")
        found.append(value)
    return found


def check_operation(operator: str, left: Any, right: Any) -> None:
    """Checks what an operator of Python would make of two values."""
    if operator == "*":
        for text, count in ((left, right), (right, left)):
            if (
                isinstance(text, str | bytes | list | tuple)
                and isinstance(count, int)
                and measure(text) * count > MAX_CHARACTERS
            ):
                raise TemplateLimitError(f"it repeats something {count:,} times")
    are_both = all(isinstance(side, str | bytes | list | tuple) for side in (left, right))
    if operator == "+" and are_both and measure(left) + measure(right) > MAX_CHARACTERS:
        raise TemplateLimitError(f"it makes a text of more than {MAX_CHARACTERS:,} characters")
    if operator == "%" and isinstance(left, str | bytes):
        check_format(
            left if isinstance(left, str) else left.decode("latin-1"),
            right if isinstance(right, tuple) else (right,),
            "%",
        )
    if operator in ("*", "**") and isinstance(left, int) and isinstance(right, int):
        bits = left.bit_length() * right if operator == "**" else left.bit_length() + right.bit_length()
        if bits > _MAX_BITS:
            raise TemplateLimitError(f"it computes a number of more than {_MAX_BITS:,} bits")


def check_filter(name: str, value: Any, rest: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Checks what a filter of Jinja could make of a value."""

    def given(place: int, key: str, default: Any = None) -> Any:
        return rest[place] if len(rest) > place else kwargs.get(key, default)

    if name in _SLOW_FILTERS and (measure(value) > _MAX_SLOW or measure([*rest, *kwargs.values()]) > _MAX_SLOW):
        raise TemplateLimitError(f"the filter {name!r} takes texts of at most {_MAX_SLOW:,} characters")
    if name == "sum" and not isinstance(given(1, "start", 0), int | float):
        raise TemplateLimitError("the filter 'sum' adds numbers")
    if name == "join":
        _check_join(str(given(0, "d", "")), value)
    elif name == "tojson":
        indent, separators = given(1, "indent"), given(2, "separators") or ()
        check_size(
            value, 2 + (len(indent) if isinstance(indent, str) else _as_number(indent)) + sum(map(measure, separators))
        )
    elif name not in _OF_CONTAINERS:
        check_size(value)
    if name == "indent":
        width = given(0, "width", 4)
        added = len(width) if isinstance(width, str) else _as_number(width)
        text = str(value)
        if len(text) + (1 + sum(map(text.count, _LINE_ENDS))) * added > MAX_CHARACTERS:
            raise TemplateLimitError(f"it makes a text of more than {MAX_CHARACTERS:,} characters")
    if name == "replace":
        _check_replacement(str(value), str(given(0, "old")), str(given(1, "new")))
    if name == "format":
        check_format(str(value), (*rest, *kwargs.values()), "%")
    _check_numbers((*rest, *kwargs.values()))


def _check_numbers(values: Iterable[Any]) -> None:
    for value in values:
        if isinstance(value, int) and abs(value) > MAX_CHARACTERS:
            raise TemplateLimitError(f"it calls something with the number {value:,}")


def check_call(function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Checks what a function, or a method of a text, would make of its arguments."""
    _check_numbers((*args, *kwargs.values()))
    text, name = getattr(function, "__self__", None), getattr(function, "__name__", "")
    if isinstance(text, bytes):
        text = text.decode("latin-1")
    if not isinstance(text, str):
        return
    if name in ("format", "format_map"):
        check_format(text, (*args, *kwargs.values()), "{")
    if name == "translate" and args:
        table = (
            args[0].values() if isinstance(args[0], Mapping) else args[0] if isinstance(args[0], list | tuple) else ()
        )
        check_size(text, max(map(measure, table), default=1))
    if name == "replace" and len(args) >= 2:
        _check_replacement(text, args[0], args[1])
    if name == "join" and args and isinstance(args[0], Sequence):
        _check_join(text, args[0])
    if name == "expandtabs":
        width = args[0] if args else kwargs.get("tabsize", 8)
        _check_replacement(text, "\t", " " * _as_number(width))


def check_format(text: str, values: Sequence[Any], sign: str) -> None:
    """Checks what a format could make at most: its widths, and each value wherever a value may stand.

    Args:
        text: The format.
        values: What it may write.
        sign: `%` or `{`, by which its places begin.
    """
    if sign == "%":
        widths = _PERCENT.findall(text)
        are_given = any("*" in width for width in widths)
    else:
        widths = _FIELD.findall(text)
        are_given = _FIELD_INSIDE.search(text.replace("{{", "")) is not None
    if are_given:
        raise TemplateLimitError("a format takes its widths from values")
    length = len(text) + sum(int(number[:9]) for width in widths for number in _NUMBER.findall(width))
    length += text.count(sign) * max(map(measure, values), default=0)
    if length > MAX_CHARACTERS:
        raise TemplateLimitError(f"a format makes more than {MAX_CHARACTERS:,} characters")


def _check_replacement(text: str, old: Any, new: Any) -> None:
    if not (isinstance(old, str) and isinstance(new, str)):
        return
    count = text.count(old) if old else len(text) + 1
    if len(text) + count * (len(new) - len(old)) > MAX_CHARACTERS:
        raise TemplateLimitError(f"it makes a text of more than {MAX_CHARACTERS:,} characters")


def _check_join(separator: str, parts: Sequence[Any]) -> None:
    length = len(separator) * len(parts) + sum(len(part) for part in parts if isinstance(part, str))
    if length > MAX_CHARACTERS:
        raise TemplateLimitError(f"it makes a text of more than {MAX_CHARACTERS:,} characters")
