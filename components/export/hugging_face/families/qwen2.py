"""Qwen 2 and Qwen 2.5."""

from typing import Any

from components.export.hugging_face.families import decoder
from components.export.hugging_face.families.family import Family
from components.export.hugging_face.layers import find_common

_POSITIONS = 32768


def list_numbers(backbone: Any) -> dict[str, Any]:
    """The numbers of `config.json`. Biases of query, key and value are a matter of course there."""
    return {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", **decoder.list_numbers(backbone)}


def list_rewritten(backbone: Any) -> dict[str, Any]:
    """The rotary position embedding, and the window."""
    attentions = [layer._self_attention_layer for layer in backbone.transformer_layers]
    windows = (a.sliding_window_size if a.use_sliding_window_attention else None for a in attentions)
    return decoder.list_rewritten(backbone) | decoder.list_window(backbone, find_common("the sliding window", windows))


FAMILY = Family(
    title="Qwen 2",
    list_tensors=decoder.list_tensors,
    list_numbers=list_numbers,
    list_rewritten=list_rewritten,
    list_defaults=lambda backbone: decoder.list_defaults(_POSITIONS),
)
