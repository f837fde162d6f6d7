"""The families that can be written, by the class of KerasHub's backbone."""

from typing import Any

from components.errors import UserError
from components.export.hugging_face.families import gemma, gpt2, llama, mistral, qwen2, qwen3
from components.export.hugging_face.families.family import Family

_FAMILIES: dict[str, Family] = {
    "GPT2Backbone": gpt2.FAMILY,
    "LlamaBackbone": llama.FAMILY,
    "Llama3Backbone": llama.FAMILY,
    "GemmaBackbone": gemma.GEMMA,
    "Gemma3Backbone": gemma.GEMMA3,
    "MistralBackbone": mistral.FAMILY,
    "QwenBackbone": qwen2.FAMILY,
    "Qwen3Backbone": qwen3.FAMILY,
}
BACKBONES = tuple(_FAMILIES)
TITLES = tuple(dict.fromkeys([*(family.title for family in _FAMILIES.values()), gemma.GEMMA2.title]))


def find_family(backbone: Any) -> Family:
    """Returns the family of a backbone.

    Raises:
        UserError: There is no writer for it.
    """
    name = type(backbone).__name__
    if name not in _FAMILIES:
        raise UserError(
            f"`hf` must be asked for a model of a family that can be written for transformers: {', '.join(sorted(TITLES))}. "
            f"Received: {name}. Export it as `keras` or `savedmodel`."
        )
    family = _FAMILIES[name]
    # KerasHub has one class for both.
    is_second = family is gemma.GEMMA and backbone.use_post_attention_norm
    return gemma.GEMMA2 if is_second else family
