"""Qwen 3, dense models."""

from typing import Any

from components.export.hugging_face.families import decoder
from components.export.hugging_face.families.family import Family
from components.export.hugging_face.layers import find_common

_POSITIONS = 40960


def list_numbers(backbone: Any) -> dict[str, Any]:
    """The numbers of `config.json`."""
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        **decoder.list_numbers(backbone),
        "attention_bias": False,
    }


def list_rewritten(backbone: Any) -> dict[str, Any]:
    """The rotary position embedding, and the window."""
    windows = (layer._self_attention_layer.sliding_window_size or None for layer in backbone.transformer_layers)
    return decoder.list_rewritten(backbone) | decoder.list_window(backbone, find_common("the sliding window", windows))


FAMILY = Family(
    title="Qwen 3",
    list_tensors=decoder.list_tensors,
    list_numbers=list_numbers,
    list_rewritten=list_rewritten,
    list_defaults=lambda backbone: decoder.list_defaults(_POSITIONS),
)
