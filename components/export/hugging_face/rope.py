"""Rotary position embeddings in `config.json`, in the form of transformers 5 and in the one before it.

Since version 5 all is in `rope_parameters`; before, the base was `rope_theta` and the rest `rope_scaling`. Both are written:
older readers do not know the one, and newer ones take the other for the same.
"""

from collections.abc import Mapping
from typing import Any

from components.errors import UserError
from components.export.hugging_face.layers import find_common

KEYS = ("rope_theta", "rope_scaling", "rope_parameters", "rope_local_base_freq")


def describe_rotary(layer: Any) -> dict[str, Any]:
    """Returns what one rotary embedding computes, as `rope_parameters` states it.

    Args:
        layer: KerasHub's `RotaryEmbedding`, or Llama's.

    Raises:
        UserError: It is of a kind that is not known here.
    """
    theta = float(layer.max_wavelength)
    factor = float(getattr(layer, "scaling_factor", 1.0))
    # Of Llama 3.1 and later.
    adjustment = getattr(layer, "frequency_adjustment_factor", None)
    kind = getattr(layer, "rope_type", "linear")
    if kind != "linear" or (adjustment is not None and factor != 1.0):
        raise UserError(
            "this model cannot be written for transformers: its rotary position embedding must be plain, linearly scaled or "
            f"scaled as Llama 3's. Received: {kind}, scaled by {factor:g} and {adjustment}."
        )
    if adjustment is not None:
        return {
            "rope_type": "llama3",
            "rope_theta": theta,
            "factor": float(adjustment),
            "low_freq_factor": float(layer.low_freq_factor),
            "high_freq_factor": float(layer.high_freq_factor),
            "original_max_position_embeddings": int(layer.pretraining_sequence_length),
        }
    if factor != 1.0:
        return {"rope_type": "linear", "rope_theta": theta, "factor": factor}
    return {"rope_type": "default", "rope_theta": theta}


def make_rope(layers: list[Any]) -> dict[str, Any]:
    """Returns the keys of `config.json` for a model whose layers all rotate alike.

    Args:
        layers: Its rotary embeddings.

    Raises:
        UserError: They differ, or are of a kind that is not known here.
    """
    found = find_common("the rotary position embedding", (tuple(describe_rotary(layer).items()) for layer in layers))
    parameters = dict(found)
    scaling = {name: value for name, value in parameters.items() if name != "rope_theta"}
    older = {"rope_theta": parameters["rope_theta"]}
    if parameters["rope_type"] != "default":
        older["rope_scaling"] = scaling
    return {"rope_parameters": parameters} | older


def read_rope(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what a `config.json` of either form says of a model whose layers all rotate alike, as `rope_parameters` does.

    What it does not state is left out.
    """
    parameters = dict(config.get("rope_parameters") or {})
    parameters |= config.get("rope_scaling") or {}
    if "type" in parameters:
        parameters.setdefault("rope_type", parameters.pop("type"))
    if "rope_theta" not in parameters and "rope_theta" in config:
        parameters["rope_theta"] = config["rope_theta"]
    return parameters
