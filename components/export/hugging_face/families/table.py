"""The families that can be written, by the class of KerasHub's backbone (`components.export.formats` has their names)."""

from typing import Any

from components.errors import UserError
from components.export.formats import explain_families
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


def find_family(backbone: Any) -> Family:
    """Returns the family of a backbone.

    Raises:
        UserError: There is no writer for it.
    """
    name = type(backbone).__name__
    if name not in _FAMILIES:
        raise UserError(explain_families(name))
    family = _FAMILIES[name]
    # KerasHub has one class for both.
    is_second = family is gemma.GEMMA and backbone.use_post_attention_norm
    return gemma.GEMMA2 if is_second else family
