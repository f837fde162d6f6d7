"""JSON and YAML that stand as text in a metadata store. A fault of the disk, or somebody, may have changed it: what cannot be read
counts as not recorded."""

import json
from typing import Any, TypeVar

import yaml

Kind = TypeVar("Kind", dict[str, Any], list[Any])

# No configuration of a run has as many; without a limit, a few kilobytes could stand for gigabytes.
_MOST_BRACKETS = 10_000
_MOST_CHARACTERS = 10_000_000
_MOST_LEVELS = 50


def read_json(text: object, kind: type[Kind]) -> Kind:
    """Returns an object or a list; an empty one if the text holds none.

    Args:
        text: A property of the store; None where it is missing.
        kind: `dict` or `list`.
    """
    try:
        value = json.loads(str(text)) if text else kind()
    except (ValueError, RecursionError):
        return kind()
    return value if isinstance(value, kind) else kind()


def read_config(text: object) -> dict[str, Any]:
    """Returns a run's configuration, which is YAML; an empty one if it cannot be read, or holds aliases, which we never write."""
    text = str(text or "")
    if len(text) > _MOST_CHARACTERS or text.count("[") + text.count("{") > _MOST_BRACKETS:
        return {}
    try:
        # The parser in C is ten times as fast as Python's, which matters for a thousand runs.
        if (
            "&" in text
            and "*" in text
            and any(isinstance(e, yaml.AliasEvent) for e in yaml.parse(text, yaml.CSafeLoader))
        ):
            return {}
        value = yaml.load(text, Loader=yaml.CSafeLoader)
    except (yaml.YAMLError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) and _count_levels(value) <= _MOST_LEVELS else {}


def _count_levels(value: Any) -> int:
    levels, inside = 0, [value]
    while inside and levels <= _MOST_LEVELS:
        levels += 1
        parts = [part.values() if isinstance(part, dict) else part for part in inside if isinstance(part, dict | list)]
        inside = [item for part in parts for item in part]
    return levels
