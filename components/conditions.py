"""Conditions as people write them: `method=lora`, `learning_rate<1e-4`, `kind~math`. Pure functions."""

import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

_FORM = re.compile(r"\s*([A-Za-z_][\w.@-]*)\s*(<=|>=|!=|==|=|<|>|~)\s*(.*?)\s*", re.DOTALL)
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
_TRUTH = {"yes": "true", "no": "false", "1": "true", "0": "false"}


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
        return f"{self.key}{self.symbol}{self.text}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads a condition: a key, a comparison and a value, which may stand in quotes.

        Raises:
            ValueError: It is none.
        """
        found = _FORM.fullmatch(text)
        if found is None or not found[3]:
            raise ValueError("must be a key, a comparison (= != < <= > >= or ~ for `contains`) and a value")
        return cls(key=found[1], symbol=found[2], text=found[3].strip("\"'"))

    def fits(self, value: Any) -> bool:
        """Returns whether a value fulfils it.

        Two numbers are compared as numbers, also where they stand as text; truth values as such; all else as text. None, which is no
        value, fulfils `!=` alone.
        """
        if value is None:
            return self.symbol == "!="
        compare = _OPERATORS[self.symbol]
        if isinstance(value, bool):
            return compare(str(value).lower(), _TRUTH.get(self.text.lower(), self.text.lower()))
        number, asked = _to_number(value), _to_number(self.text)
        if self.symbol == "~" or number is None:
            return compare(str(value), self.text)
        if asked is None:  # a number is not this text, and is not above or below it
            return self.symbol == "!="
        return compare(number, asked)


def _to_number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
