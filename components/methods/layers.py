"""Layers of a model by path: how methods name the layers that they change."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from components.errors import UserError

if TYPE_CHECKING:
    import keras_hub


def find_kernel_layers(model: "keras_hub.models.CausalLM") -> dict[str, Any]:
    """All `Dense` and `EinsumDense` layers of the backbone, however deeply nested, by path.

    A path is the names of the layers from the backbone down, joined by `/`:
    `transformer_layer_0/self_attention/query`. It is made here, because a layer's own `path` depends on how it was built.

    Raises:
        ValueError: two layers have the same path, so that names would not be stable.
    """
    import keras

    found: dict[str, Any] = {}
    seen: set[int] = set()

    def visit(layer: Any, path: str) -> None:
        for child in layer._flatten_layers(include_self=False, recursive=False):
            if id(child) in seen:  # a layer that is shared, or tracked under two attributes
                continue
            seen.add(id(child))
            child_path = f"{path}/{child.name}" if path else child.name
            if isinstance(child, keras.layers.Dense | keras.layers.EinsumDense):
                if child_path in found:
                    raise ValueError(f"two layers of {type(model).__name__} have the path {child_path}")
                found[child_path] = child
            visit(child, child_path)

    visit(model.backbone, "")
    return found


def select_layers(layers: dict[str, Any], target_layer_names: Sequence[str] | None) -> dict[str, Any]:
    """The layers that `target_layer_names` names.

    Args:
        layers: layers by path, from `find_kernel_layers`.
        target_layer_names: each the last part of a path (`query`, `self_attention/query`) or a whole one. None: all.

    Raises:
        UserError: a name matches no layer; the message lists the names there are.
    """
    if target_layer_names is None:
        target_layer_names = sorted({path.rsplit("/", 1)[-1] for path in layers})
    chosen: dict[str, Any] = {}
    missing = []
    for name in target_layer_names:
        matches = {path: layer for path, layer in layers.items() if path == name or path.endswith(f"/{name}")}
        chosen |= matches
        if not matches:
            missing.append(name)
    if missing or not chosen:
        there_are = sorted({path.rsplit("/", 1)[-1] for path in layers})
        raise UserError(
            "method.target_layer_names: each name must match a Dense or EinsumDense layer of the model's backbone. "
            f"Received: {', '.join(missing) or 'none'}. Layers there are: {', '.join(there_are) or 'none'}."
        )
    return {path: layer for path, layer in layers.items() if path in chosen}
