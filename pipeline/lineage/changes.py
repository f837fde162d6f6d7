"""What a comparison consists of: changes of single values, in sections. Equal values make no change."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Change:
    """A value that differs.

    Attributes:
        key: Its name.
        before: On the first side; None if it is not there.
        after: On the second.
        difference: `after - before` of two numbers.
        note: What it means, in words.
    """

    key: str
    before: Any
    after: Any
    difference: float | None = None
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Section:
    """Changes of one kind.

    Attributes:
        title: What they are of.
        changes: At least one.
        note: What holds for all of them.
        is_timing: How long something took differs between any two runs: that alone does not make them different.
    """

    title: str
    changes: tuple[Change, ...]
    note: str = ""
    is_timing: bool = False


def compare(before: Mapping[str, Any], after: Mapping[str, Any], keys: Iterable[str] | None = None) -> Iterator[Change]:
    """Yields a change for each key whose values differ.

    Args:
        before: Values of the first side.
        after: Of the second.
        keys: The keys that count, in order; None for all, those of the first side first.
    """
    for key in dict.fromkeys((*before, *after)) if keys is None else keys:
        if (change := make_change(key, before.get(key), after.get(key))) is not None:
            yield change


def make_change(key: str, before: Any, after: Any, note: str = "") -> Change | None:
    """Returns the change of one value; None if it is the same."""
    if before == after and isinstance(before, bool) == isinstance(after, bool):
        return None
    difference = after - before if _is_number(before) and _is_number(after) else None
    return Change(key=key, before=before, after=after, difference=difference, note=note)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
