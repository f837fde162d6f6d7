"""Llama, Llama 3 and the many models of their architecture, such as SmolLM2 and TinyLlama."""

from typing import Any

from components.export.hugging_face.families import decoder
from components.export.hugging_face.families.family import Family
from components.export.hugging_face.layers import find_rotaries

# Of Llama 3; a scaled rotary embedding reaches as many times as far as what the model was trained for.
_POSITIONS = 8192
_LARGEST_POSITIONS = 131072


def list_numbers(backbone: Any) -> dict[str, Any]:
    """The numbers of `config.json`."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        **decoder.list_numbers(backbone),
        "attention_bias": False,
        "mlp_bias": False,
    }


def list_defaults(backbone: Any) -> dict[str, Any]:
    """What only whoever trains on or serves asks for."""
    scaled = [rotary.pretraining_sequence_length for rotary in find_rotaries(backbone)]
    return decoder.list_defaults(_LARGEST_POSITIONS if any(scaled) else _POSITIONS)


FAMILY = Family(
    title="Llama",
    list_tensors=decoder.list_tensors,
    list_numbers=list_numbers,
    list_rewritten=decoder.list_rewritten,
    list_defaults=list_defaults,
)
