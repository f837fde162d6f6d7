"""Numbers that the layers of a model compute with, read from the layers themselves.

A backbone's own attributes are what it was made with; a loader may have set another number on the layers since.
"""

from collections.abc import Iterable
from typing import Any

from components.errors import UserError


def find_norm_epsilon(backbone: Any) -> float:
    """Returns the epsilon of all norms.

    Raises:
        UserError: They differ; the layout has one number for all.
    """
    return find_common("the epsilon of norms", (layer.epsilon for layer in walk(backbone) if hasattr(layer, "epsilon")))


def find_rotaries(layer: Any) -> list[Any]:
    """Returns the rotary embeddings in a layer or model."""
    return [found for found in walk(layer) if hasattr(found, "max_wavelength")]


def walk(layer: Any) -> Iterable[Any]:
    """Yields the layers inside a layer or model."""
    return layer._flatten_layers(include_self=False)  # there is no public way


def find_common(what: str, values: Iterable[Any]) -> Any:
    """Returns the value that all have.

    Raises:
        UserError: They differ.
    """
    found = list(dict.fromkeys(values))
    if len(found) != 1:
        raise UserError(
            f"this model cannot be written for transformers: {what} must be the same in all layers, since its config.json has "
            f"one number for all. Received: {', '.join(map(str, found)) or 'none'}."
        )
    return found[0]
