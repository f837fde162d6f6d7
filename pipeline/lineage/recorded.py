"""JSON and YAML that stand as text in a metadata store. A fault of the disk, or somebody, may have changed it: what cannot be read
counts as not recorded."""

import json
from typing import Any, TypeVar

import yaml

Kind = TypeVar("Kind", dict[str, Any], list[str])

# No configuration of a run has as many.
_MOST_CHARACTERS = 10_000_000
_MOST_LEVELS = 50
# With fewer, nothing can be nested too deeply.
_FEW_CHARACTERS = 2_000


def read_json(text: object, kind: type[Kind]) -> Kind:
    """Returns an object or a list of texts; an empty one if the text holds none.

    Args:
        text: A property of the store; None where it is missing.
        kind: `dict` or `list`.
    """
    try:
        value = json.loads(str(text)) if text else kind()
    except (ValueError, RecursionError):
        return kind()
    if isinstance(value, list) and not all(isinstance(item, str) for item in value):
        return kind()
    return value if isinstance(value, kind) else kind()


def read_config(text: object) -> dict[str, Any]:
    """Returns a run's configuration, which is YAML; an empty one if it cannot be read, or holds aliases, which we never write."""
    text = str(text or "")
    if len(text) > _MOST_CHARACTERS:
        return {}
    try:
        # The parser in C is ten times as fast as Python's, which matters for a thousand runs; but it follows what is nested by calling
        # itself, and aliases. Events do neither.
        if (len(text) > _FEW_CHARACTERS or ("&" in text and "*" in text)) and not _is_plain(text):
            return {}
        value = yaml.load(text, Loader=yaml.CSafeLoader)
    except (yaml.YAMLError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _is_plain(text: str) -> bool:
    """Returns whether YAML has no aliases, and few levels."""
    level = 0
    for event in yaml.parse(text, yaml.CSafeLoader):
        level += isinstance(event, yaml.CollectionStartEvent)
        level -= isinstance(event, yaml.CollectionEndEvent)
        if level > _MOST_LEVELS or isinstance(event, yaml.AliasEvent):
            return False
    return True
