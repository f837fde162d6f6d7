"""Tiny random models of every family, with numbers that differ from KerasHub's and transformers' defaults."""

import json
from pathlib import Path
from typing import Any

import keras
import keras_hub
import numpy as np

from components.export.hugging_face.config import make_config
from components.export.hugging_face.families.table import find_family
from components.export.hugging_face.weights import write_weights
from components.text.model_tokenizer import adopt_own_rules

VOCABULARY_SIZE = 67
# Two texts; a window of five tokens and all scales of rotation matter in them.
TOKEN_IDS = np.random.default_rng(0).integers(0, VOCABULARY_SIZE, (2, 20)).astype("int32")
_EPSILON = 2e-4
_COMMON = {
    "num_layers": 3,
    "num_query_heads": 4,
    "num_key_value_heads": 2,
    "hidden_dim": 24,
    "intermediate_dim": 40,
}
_ROTARY = _COMMON | {"rope_max_wavelength": 5_000}
_GEMMA = _COMMON | {"head_dim": 10}
_GEMMA2 = _GEMMA | {
    "query_head_dim_normalize": False,
    "use_post_ffw_norm": True,
    "use_post_attention_norm": True,
    "use_sliding_window_attention": True,
    "sliding_window_size": 5,
}
_WINDOW = {"use_sliding_window_attention": True, "sliding_window_size": 5}
_MODELS: dict[str, tuple[Any, dict[str, Any]]] = {
    "gpt2": (
        keras_hub.models.GPT2Backbone,
        {
            "num_layers": 2,
            "num_heads": 4,
            "hidden_dim": 24,
            "intermediate_dim": 52,
            "dropout": 0.0,
            "max_sequence_length": 128,
        },
    ),
    "llama": (keras_hub.models.Llama3Backbone, _ROTARY | {"tie_word_embeddings": False}),
    "llama_scaled_tied": (
        keras_hub.models.Llama3Backbone,
        _ROTARY
        | {
            "tie_word_embeddings": True,
            "rope_frequency_adjustment_factor": 8.0,
            "rope_low_freq_factor": 1.5,
            "rope_high_freq_factor": 3.0,
            "rope_pretraining_sequence_length": 16,
        },
    ),
    "gemma": (keras_hub.models.GemmaBackbone, _GEMMA),
    "gemma2": (
        keras_hub.models.GemmaBackbone,
        _GEMMA2 | {"attention_logit_soft_cap": 3.0, "final_logit_soft_cap": 4.0},
    ),
    "gemma3": (
        keras_hub.models.Gemma3Backbone,
        _GEMMA2 | {"num_layers": 7, "image_size": None, "sliding_window_size": 4, "global_rope_scaling_factor": 8.0},
    ),
    "mistral": (keras_hub.models.MistralBackbone, _ROTARY | {"head_dim": 10, "sliding_window": 5}),
    "qwen2": (keras_hub.models.QwenBackbone, _ROTARY | {"tie_word_embeddings": False}),
    "qwen2_window_tied": (keras_hub.models.QwenBackbone, _ROTARY | _WINDOW),
    "qwen3": (
        keras_hub.models.Qwen3Backbone,
        _ROTARY | {"head_dim": 10, "tie_word_embeddings": False, "sliding_window_size": None},
    ),
    "qwen3_window_tied": (keras_hub.models.Qwen3Backbone, _ROTARY | {"head_dim": 10, "sliding_window_size": 5}),
}
NAMES = tuple(_MODELS)
# By the first word of a name: KerasHub's task, its preprocessor, and the kind of tokenizer in `small_tokenizers.py`.
_TASKS = {
    "gpt2": (keras_hub.models.GPT2CausalLM, keras_hub.models.GPT2CausalLMPreprocessor, "gpt2"),
    "llama": (keras_hub.models.Llama3CausalLM, keras_hub.models.Llama3CausalLMPreprocessor, "llama3"),
    "gemma": (keras_hub.models.GemmaCausalLM, keras_hub.models.GemmaCausalLMPreprocessor, "gemma"),
    "gemma2": (keras_hub.models.GemmaCausalLM, keras_hub.models.GemmaCausalLMPreprocessor, "gemma"),
    "gemma3": (keras_hub.models.Gemma3CausalLM, keras_hub.models.Gemma3CausalLMPreprocessor, "gemma"),
    "mistral": (keras_hub.models.MistralCausalLM, keras_hub.models.MistralCausalLMPreprocessor, "mistral_legacy"),
    "qwen2": (keras_hub.models.QwenCausalLM, keras_hub.models.QwenCausalLMPreprocessor, "qwen2"),
    "qwen3": (keras_hub.models.Qwen3CausalLM, keras_hub.models.Qwen3CausalLMPreprocessor, "qwen2"),
}


def make_backbone(name: str, vocabulary_size: int = VOCABULARY_SIZE, epsilon: float = _EPSILON) -> Any:
    """Returns the backbone of that name, with every weight drawn at random (norms and biases too)."""
    keras.utils.set_random_seed(7)
    kind, options = _MODELS[name]
    backbone = kind(vocabulary_size=vocabulary_size, **options)
    # On the layers: KerasHub hands a backbone's number not to all of them.
    for layer in backbone._flatten_layers():
        if hasattr(layer, "epsilon"):
            layer.epsilon = epsilon
    generator = np.random.default_rng(11)
    for weight in backbone.weights:
        spread = 0.3 if len(weight.shape) > 1 else 0.5
        offset = 1.0 if weight.path.endswith(("gamma", "scale")) and "gemma" not in name else 0.0
        weight.assign(offset + generator.normal(scale=spread, size=weight.shape))
    return backbone


def write(backbone: Any, folder: Path, **options: Any) -> None:
    """Writes weights and config, without a tokenizer."""
    family = find_family(backbone)
    config = make_config(family, backbone, {}, {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}, "float32")
    (folder / "config.json").write_text(json.dumps(config))
    write_weights(list(family.list_tensors(backbone)), folder, **options)


def make_model(name: str, folder: Path, small_tokenizers: Any) -> keras_hub.models.CausalLM:
    """Returns a whole model with a small tokenizer of its family.

    Args:
        name: One of `NAMES`.
        folder: Gets the rules of the tokenizer's publisher, as a KerasHub preset has them.
        small_tokenizers: The module.
    """
    task, preprocessor, kind = _TASKS[name.partition("_")[0]]
    if kind in small_tokenizers.BYTE_LEVEL:
        tokenizer, _ = small_tokenizers.make_byte_level(kind, folder, vocabulary_size=400)
    else:
        tokenizer = small_tokenizers.make_sentencepiece(kind, folder, vocabulary_size=500)
    if name.startswith("qwen3"):
        tokenizer = keras_hub.tokenizers.Qwen3Tokenizer(vocabulary=tokenizer.vocabulary, merges=tokenizer.merges)
    if name == "gemma3":
        tokenizer = keras_hub.tokenizers.Gemma3Tokenizer(proto=tokenizer.proto, has_vision_tokens=False)
    adopt_own_rules(tokenizer, folder)
    # GPT-2 has one epsilon for all of its kind.
    epsilon = {"epsilon": 1e-5} if name == "gpt2" else {}
    backbone = make_backbone(name, len(tokenizer.get_vocabulary()), **epsilon)
    options = {"image_converter": None} if name == "gemma3" else {}
    return task(backbone=backbone, preprocessor=preprocessor(tokenizer=tokenizer, **options))
