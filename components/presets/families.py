"""The families of language models whose Hugging Face folders can be loaded."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from components.presets import backbone_arguments
from components.presets.config_reader import ConfigReader

BYTE_PAIR = "byte-pair"
SENTENCE_PIECE = "SentencePiece"


@dataclass(frozen=True, kw_only=True)
class Family:
    """One `model_type`.

    Attributes:
        title: What people call it.
        architecture: transformers' class of the causal language model.
        read: From `config.json` to the arguments of KerasHub's backbone.
        tokenizer_files: One of these sets of files must be there.
        special_tokens: Those that KerasHub's tokenizer of the family needs; empty where it takes the model's own.
        tokenizer: Kind of the tokenizer.
    """

    title: str
    architecture: str
    read: Callable[[ConfigReader], dict[str, Any]]
    tokenizer_files: tuple[tuple[str, ...], ...]
    special_tokens: tuple[str, ...]
    tokenizer: str


_JSON = ("tokenizer.json",)
_SENTENCE_PIECE_FILES = (("tokenizer.model",), _JSON)
_GEMMA_TOKENS = ("<bos>", "<eos>", "<pad>")

# By `model_type`. Logits of each are compared with those of transformers (tests/components/models/).
FAMILIES: Mapping[str, Family] = {
    "gpt2": Family(
        title="GPT-2",
        architecture="GPT2LMHeadModel",
        read=backbone_arguments.read_gpt2,
        tokenizer_files=(_JSON, ("vocab.json", "merges.txt")),
        special_tokens=("<|endoftext|>",),
        tokenizer=BYTE_PAIR,
    ),
    "llama": Family(
        title="Llama 3 and others of its architecture, such as SmolLM2",
        architecture="LlamaForCausalLM",
        read=backbone_arguments.read_llama,
        tokenizer_files=(("tokenizer.json", "tokenizer_config.json"),),
        special_tokens=(),
        tokenizer=BYTE_PAIR,
    ),
    "gemma": Family(
        title="Gemma",
        architecture="GemmaForCausalLM",
        read=backbone_arguments.read_gemma,
        tokenizer_files=_SENTENCE_PIECE_FILES,
        special_tokens=_GEMMA_TOKENS,
        tokenizer=SENTENCE_PIECE,
    ),
    "gemma2": Family(
        title="Gemma 2",
        architecture="Gemma2ForCausalLM",
        read=backbone_arguments.read_gemma2,
        tokenizer_files=_SENTENCE_PIECE_FILES,
        special_tokens=_GEMMA_TOKENS,
        tokenizer=SENTENCE_PIECE,
    ),
    "gemma3_text": Family(
        title="Gemma 3, text only",
        architecture="Gemma3ForCausalLM",
        read=backbone_arguments.read_gemma3_text,
        tokenizer_files=_SENTENCE_PIECE_FILES,
        special_tokens=_GEMMA_TOKENS,
        tokenizer=SENTENCE_PIECE,
    ),
    "mistral": Family(
        title="Mistral",
        architecture="MistralForCausalLM",
        read=backbone_arguments.read_mistral,
        tokenizer_files=_SENTENCE_PIECE_FILES,
        special_tokens=("<s>", "</s>"),
        tokenizer=SENTENCE_PIECE,
    ),
    "qwen2": Family(
        title="Qwen 2 and 2.5",
        architecture="Qwen2ForCausalLM",
        read=backbone_arguments.read_qwen2,
        tokenizer_files=(_JSON,),
        special_tokens=("<|endoftext|>",),
        tokenizer=BYTE_PAIR,
    ),
    "qwen3": Family(
        title="Qwen 3",
        architecture="Qwen3ForCausalLM",
        read=backbone_arguments.read_qwen3,
        tokenizer_files=(_JSON,),
        special_tokens=("<|im_end|>", "<|endoftext|>"),
        tokenizer=BYTE_PAIR,
    ),
}
# KerasHub 0.32 converts these too. Nobody has compared them with transformers here, and KerasHub's converters have dropped numbers
# without a word in every family that was compared.
UNCHECKED = frozenset(
    {
        "gemma3",
        "gemma3n",
        "gemma4",
        "gemma4_assistant",
        "gemma4_text",
        "gpt_oss",
        "mixtral",
        "paligemma",
        "qwen2_moe",
        "qwen3_5",
        "qwen3_5_moe",
        "qwen3_moe",
        "smollm3",
    }
)


def read_backbone_arguments(config: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Returns the arguments of KerasHub's backbone for a `config.json`, and what is wrong with the file.

    Args:
        config: The file. Its `model_type` must be in `FAMILIES`.
    """
    reader = ConfigReader(config)
    family = FAMILIES[config["model_type"]]
    arguments = family.read(reader)
    reader.finish()
    return arguments, reader.problems


def find_family_problem(config: Mapping[str, Any]) -> str | None:
    """Returns why a `config.json` is not of one of `FAMILIES`, or not of a causal language model; None if it is."""
    kind = config.get("model_type")
    kind = kind if isinstance(kind, str) else str(kind)
    family = FAMILIES.get(kind)
    if family is None:
        known = ", ".join(FAMILIES)
        if kind in UNCHECKED:
            return (
                f"`model_type` must be one of {known}: their logits are compared with those of transformers. Received: {kind!r}. KerasHub "
                "has a converter for it, which nobody has compared here. To take it all the same, write a preset with "
                "`keras_hub.models.CausalLM.from_preset(folder).save_to_preset(new_folder)`, and give that."
            )
        return (
            f"`model_type` must be one of {known}. KerasHub has no converter to a causal language model for {kind!r}."
        )
    # KerasHub asks for the key too.
    architectures = config.get("architectures") or ["none"]
    if family.architecture not in architectures:
        return f"`architectures` must be {family.architecture}, a causal language model. Received: {', '.join(map(str, architectures))}."
    return None
