"""Nested settings as a flat mapping, so that two can be compared key by key."""

from typing import Any

# Fields by which the elements of a list are told apart, wherever they stand in it.
_NAMES = ("name", "metric")


def flatten(value: Any, prefix: str = "", *, name_elements: bool = False) -> dict[str, Any]:
    """Returns the leaves by dotted key.

    Args:
        value: A mapping of mappings; a list is a leaf.
        prefix: Goes before each key.
        name_elements: A list of mappings is no leaf but flattened too, each element under its name
            (`evaluation.metrics[loss]`), or its place if names are missing or repeat.
    """
    if isinstance(value, dict) and value:
        inner = {f"{prefix}.{key}".strip("."): held for key, held in value.items()}
    elif name_elements and isinstance(value, list) and value and all(isinstance(held, dict) for held in value):
        inner = {f"{prefix}[{name}]": held for name, held in zip(_name_elements(value), value, strict=True)}
    else:
        return {prefix: value}
    return {
        key: leaf
        for name, held in inner.items()
        for key, leaf in flatten(held, name, name_elements=name_elements).items()
    }


def _name_elements(elements: list[dict[str, Any]]) -> list[str]:
    for field in _NAMES:
        names = [str(element.get(field, "")) for element in elements]
        if all(names) and len(set(names)) == len(names):
            return names
    return [str(place) for place in range(len(elements))]
