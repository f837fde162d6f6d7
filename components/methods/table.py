"""The table of tuning methods, and how a method is made from its name and options."""

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any

from components.methods.full import FullFineTuning
from components.methods.lora import LoRA
from components.methods.method import Method

METHODS: dict[str, type[Method]] = {"full": FullFineTuning, "lora": LoRA}


def option_names(name: str) -> list[str]:
    """Names of the options of the method `name`, sorted."""
    return sorted(field.name for field in dataclasses.fields(METHODS[name]))  # type: ignore[arg-type]


def find_option_problems(name: str, options: Mapping[str, Any]) -> dict[str, str]:
    """Checks a method's options without loading anything.

    Args:
        name: the method's name in the YAML.
        options: the method's options as written there.

    Returns:
        What is wrong, by option name (by `"name"` where the method itself is unknown); empty if all is well.
    """
    if name not in METHODS:
        return {"name": f"unknown method.{_suggest(name, METHODS)} Methods: {', '.join(METHODS)}. Received: {name!r}."}
    known = option_names(name)
    choices = f"Options: {', '.join(known)}." if known else "It has no options."
    problems = {
        key: f"unknown option of `{name}`.{_suggest(key, known)} {choices}" for key in options if key not in known
    }
    # One option at a time, so that one bad value does not hide the next; the others keep their defaults.
    for key in known:
        if key in options:
            try:
                METHODS[name](**{key: options[key]})
            except ValueError as error:
                problems[key] = str(error)
    return problems


def make_method(name: str, options: Mapping[str, Any]) -> Method:
    """Makes the method `name` with `options`.

    Raises:
        ValueError: the method or an option is unknown, or a value is out of range; all problems in one message.
    """
    if problems := find_option_problems(name, options):
        raise ValueError("\n".join(f"method.{key}: {problem}" for key, problem in problems.items()))
    return METHODS[name](**options)


def _suggest(word: str, known: Any) -> str:
    close = difflib.get_close_matches(str(word), list(known), n=1)
    return f" Did you mean `{close[0]}`?" if close else ""
