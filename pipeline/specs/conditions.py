"""Conditions of tasks, as kfp writes them for `dsl.If`: whether a text parameter is what it must be.

Conditions are in Google's Common Expression Language. What this project compiles is one form of it, and only that is read here.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from components.errors import UserError

_EQUALITY = re.compile(r"inputs\.parameter_values\['(?P<parameter>[^'\\]+)'\]\s*==\s*'(?P<text>[^'\\]*)'")


@dataclass(frozen=True, kw_only=True)
class Equality:
    """A parameter of the task must be this text."""

    parameter: str
    text: str

    def is_met(self, values: Mapping[str, Any]) -> bool:
        """Returns whether the task runs.

        Args:
            values: Its parameters.

        Raises:
            UserError: If the parameter is no text: what is compared then is not defined here.
        """
        value = values[self.parameter]
        if not isinstance(value, str):
            raise UserError(f"a condition compares texts; the parameter {self.parameter} is {value!r}.")
        return value == self.text


def parse_condition(text: str) -> Equality:
    """Reads the condition of a task.

    Raises:
        UserError: If it is of another form than this project compiles.
    """
    match = _EQUALITY.fullmatch(text.strip())
    if not match:
        raise UserError(
            "a condition that is decided here must be the equality of a parameter and a text, "
            f"inputs.parameter_values['NAME'] == 'TEXT'. Received: {text!r}."
        )
    return Equality(parameter=match["parameter"], text=match["text"])
