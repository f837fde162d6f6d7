"""Conditions as people write them: `method=lora`, `learning_rate<1e-4`, `kind~math`. Pure functions."""

import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

_KEY = r"[^\W\d][\w.@-]*"
_FORM = re.compile(rf"\s*(?:({_KEY})|`([^`]+)`)\s*(<=|>=|!=|==|=|<|>|~)\s*(.*?)\s*", re.DOTALL)
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "~": lambda value, part: str(part).lower() in str(value).lower(),
}
_INTEGER = re.compile(r"\s*[+-]?[0-9]+\s*")
_ORDER = ("<", "<=", ">", ">=")
_TRUTH = {"true": True, "yes": True, "false": False, "no": False}
# Also, beside one of those: databases and forms write them, and elsewhere they are letters.
_SHORT_TRUTH = {"t": True, "y": True, "on": True, "f": False, "n": False, "off": False}


@dataclass(frozen=True, kw_only=True)
class Condition:
    """One condition.

    Attributes:
        key: What is compared.
        symbol: The comparison; `~` asks whether a text is part of it, in capitals or not.
        text: What it is compared with.
    """

    key: str
    symbol: str
    text: str

    def __str__(self) -> str:
        key = self.key if re.fullmatch(_KEY, self.key) else f"`{self.key}`"
        text = f"'{self.text}'" if self.text[:1] in "=<>!~" else self.text
        return f"{key}{self.symbol}{text}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads a condition: a key, a comparison and a value, which may stand in quotes; a key with blanks stands in backquotes.

        Raises:
            ValueError: It is none.
        """
        found = _FORM.fullmatch(text)
        if found is None or not found[4]:
            raise ValueError("must be a key, a comparison (= != < <= > >= or ~ for `contains`) and a value")
        if found[4][0] in "=<>!~":
            raise ValueError(
                f"must have one of the comparisons = != < <= > >= and ~ (`contains`). Received: {found[3]}{found[4][0]}. A value that "
                "begins with such a sign stands in quotes"
            )
        return cls(key=found[1] or found[2], symbol=found[3], text=found[4].strip("\"'"))

    def fits(self, value: Any) -> bool:
        """Returns whether a value fulfils it.

        Two numbers are compared as numbers and two truth values as such, also where they stand as text; a truth value beside a
        number is 1 or 0; all else is compared as text. What is no number is not above or below one. None, which is no value, fulfils
        `!=` alone.
        """
        if value is None:
            return self.symbol == "!="
        compare = _OPERATORS[self.symbol]
        if self.symbol == "~":
            return compare(value, self.text)
        number, asked = _to_number(value), _to_number(self.text)
        if number is not None and asked is not None:
            return compare(number, asked)
        truth, asked_truth = _to_truth(value), _to_truth(self.text)
        if _is_word(value) or _is_word(self.text):
            truth = _to_short_truth(value) if truth is None else truth
            asked_truth = _to_short_truth(self.text) if asked_truth is None else asked_truth
        if truth is not None and asked_truth is not None:
            return compare(truth, asked_truth)
        if number is not None or (asked is not None and self.symbol in _ORDER):
            return self.symbol == "!="
        return compare(str(value), self.text)


def _to_truth(value: Any) -> bool | None:
    number = _to_number(value)
    return bool(number) if number in (0, 1) else _TRUTH.get(str(value).strip().lower())


def _is_word(value: Any) -> bool:
    return isinstance(value, bool) or str(value).strip().lower() in _TRUTH


def _to_short_truth(value: Any) -> bool | None:
    return _SHORT_TRUTH.get(str(value).strip().lower())


def _to_number(value: Any) -> float | int | None:
    try:
        if isinstance(value, int) or (isinstance(value, str) and _INTEGER.fullmatch(value)):
            return int(value)  # large ids are all different as integers alone
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
