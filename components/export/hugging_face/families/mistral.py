"""Mistral."""

from typing import Any

from components.export.hugging_face.families import decoder
from components.export.hugging_face.families.family import Family
from components.export.hugging_face.layers import find_common

_POSITIONS = 32768


def list_numbers(backbone: Any) -> dict[str, Any]:
    """The numbers of `config.json`."""
    windows = (layer._self_attention_layer._sliding_window for layer in backbone.transformer_layers)
    return {
        "architectures": ["MistralForCausalLM"],
        "model_type": "mistral",
        **decoder.list_numbers(backbone),
        "sliding_window": find_common("the sliding window", windows),
    }


FAMILY = Family(
    title="Mistral",
    list_tensors=decoder.list_tensors,
    list_numbers=list_numbers,
    list_rewritten=decoder.list_rewritten,
    list_defaults=lambda backbone: decoder.list_defaults(_POSITIONS),
)
