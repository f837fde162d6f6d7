"""Tiny random models of every family, with numbers that differ from KerasHub's and transformers' defaults."""

from typing import Any

import keras
import keras_hub
import numpy as np

VOCABULARY_SIZE = 67
_EPSILON = 2e-4
_COMMON = {"vocabulary_size": VOCABULARY_SIZE, "num_layers": 3, "num_query_heads": 4, "num_key_value_heads": 2}
_WIDTHS = {"hidden_dim": 24, "intermediate_dim": 40}
_GEMMA = _COMMON | _WIDTHS | {"head_dim": 10}


def make_backbone(name: str) -> Any:
    """Returns the backbone of that name, with every weight drawn at random (norms and biases too)."""
    keras.utils.set_random_seed(7)
    backbone = _MAKERS[name]()
    # On the layers: KerasHub hands a backbone's number not to all of them.
    for layer in backbone._flatten_layers():
        if hasattr(layer, "epsilon"):
            layer.epsilon = _EPSILON
    generator = np.random.default_rng(11)
    for weight in backbone.weights:
        spread = 0.3 if len(weight.shape) > 1 else 0.5
        offset = 1.0 if weight.path.endswith(("gamma", "scale")) and "gemma" not in name else 0.0
        weight.assign(offset + generator.normal(scale=spread, size=weight.shape))
    return backbone


def _make_gpt2() -> Any:
    return keras_hub.models.GPT2Backbone(
        vocabulary_size=VOCABULARY_SIZE,
        num_layers=2,
        num_heads=4,
        hidden_dim=24,
        intermediate_dim=52,
        dropout=0.0,
        max_sequence_length=48,
    )


def _make_llama(**options: Any) -> Any:
    return keras_hub.models.Llama3Backbone(**_COMMON, **_WIDTHS, rope_max_wavelength=5_000, **options)


def _make_scaled_llama() -> Any:
    return _make_llama(
        tie_word_embeddings=True,
        rope_frequency_adjustment_factor=8.0,
        rope_low_freq_factor=1.5,
        rope_high_freq_factor=3.0,
        rope_pretraining_sequence_length=16,
    )


def _make_gemma2() -> Any:
    return keras_hub.models.GemmaBackbone(
        **_GEMMA,
        query_head_dim_normalize=False,
        use_post_ffw_norm=True,
        use_post_attention_norm=True,
        attention_logit_soft_cap=3.0,
        final_logit_soft_cap=4.0,
        use_sliding_window_attention=True,
        sliding_window_size=5,
    )


def _make_gemma3() -> Any:
    return keras_hub.models.Gemma3Backbone(
        **(_GEMMA | {"num_layers": 7}),
        image_size=None,
        query_head_dim_normalize=False,
        use_post_ffw_norm=True,
        use_post_attention_norm=True,
        use_sliding_window_attention=True,
        sliding_window_size=4,
        global_rope_scaling_factor=8.0,
    )


def _make_mistral() -> Any:
    return keras_hub.models.MistralBackbone(
        **_COMMON,
        **_WIDTHS,
        head_dim=10,
        rope_max_wavelength=5_000,
        sliding_window=5,
    )


def _make_qwen2(**options: Any) -> Any:
    return keras_hub.models.QwenBackbone(**_COMMON, **_WIDTHS, rope_max_wavelength=5_000, **options)


def _make_qwen3(**options: Any) -> Any:
    return keras_hub.models.Qwen3Backbone(**_COMMON, **_WIDTHS, head_dim=10, rope_max_wavelength=5_000, **options)


_MAKERS = {
    "gpt2": _make_gpt2,
    "llama": lambda: _make_llama(tie_word_embeddings=False),
    "llama_scaled_tied": _make_scaled_llama,
    "gemma": lambda: keras_hub.models.GemmaBackbone(**_GEMMA),
    "gemma2": _make_gemma2,
    "gemma3": _make_gemma3,
    "mistral": _make_mistral,
    "qwen2": lambda: _make_qwen2(tie_word_embeddings=False),
    "qwen2_window_tied": lambda: _make_qwen2(use_sliding_window_attention=True, sliding_window_size=5),
    "qwen3": lambda: _make_qwen3(tie_word_embeddings=False, sliding_window_size=None),
    "qwen3_window_tied": lambda: _make_qwen3(sliding_window_size=5),
}
NAMES = tuple(_MAKERS)
