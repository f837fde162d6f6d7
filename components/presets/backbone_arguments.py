"""What a `config.json` of Hugging Face is for KerasHub's backbones: one function a family.

Each reads every key that the family's mathematics uses, under all its names, and either carries it over to an argument of
KerasHub's backbone or refuses values that KerasHub's layers do not have. Defaults are those of transformers 5.23's configurations.
"""

from collections.abc import Mapping
from typing import Any

from components.presets.config_reader import ConfigReader
from components.presets.rope import parse_rope, read_rope

_GELU_TANH = ("gelu_pytorch_tanh", "gelu_new", "gelu_fast")
_DROPOUT_REASON = "KerasHub drops out elsewhere as well"
# Layers that attend to a window of the last tokens, in Gemma 2: the first and every other; in Gemma 3: all but every sixth.
_SLIDING, _FULL = "sliding_attention", "full_attention"


def read_gpt2(reader: ConfigReader) -> dict[str, Any]:
    """Returns the arguments of `GPT2Backbone`."""
    hidden_dim = reader.take_count("n_embd")
    dropout = reader.take_number("resid_pdrop", 0.1)
    for key in ("embd_pdrop", "attn_pdrop"):
        reader.expect(key, (dropout,), 0.1, "KerasHub has one dropout for all places, that of `resid_pdrop`")
    reader.expect("activation_function", _GELU_TANH, "gelu_new")
    reader.expect("layer_norm_epsilon", (1e-5,), 1e-5)
    reader.expect("scale_attn_weights", (True,), True)
    reader.expect("scale_attn_by_inverse_layer_idx", (False,), False)
    reader.expect("add_cross_attention", (False,), False)
    reader.expect("tie_word_embeddings", (True,), True)
    # The precision of a product, not the product; the head of a classifier; the older name of `n_positions`.
    reader.ignore("reorder_and_upcast_attn", "n_ctx", "summary_activation", "summary_first_dropout")
    reader.ignore("summary_proj_to_labels", "summary_type", "summary_use_proj")
    return {
        "vocabulary_size": reader.take_count("vocab_size"),
        "num_layers": reader.take_count("n_layer"),
        "num_heads": reader.take_count("n_head"),
        "hidden_dim": hidden_dim,
        "intermediate_dim": reader.take_count("n_inner", 4 * hidden_dim),
        "dropout": dropout,
        "max_sequence_length": reader.take_count("n_positions", 1024),
    }


def read_llama(reader: ConfigReader) -> dict[str, Any]:
    """Returns the arguments of `Llama3Backbone`."""
    arguments = _read_decoder(reader, rms_norm_eps=1e-6)
    _expect_plain_head_dim(reader, arguments)
    for key in ("attention_bias", "mlp_bias"):
        reader.expect(key, (False,), False)
    reader.ignore("pretraining_tp")  # how a product is cut into parts
    rope = read_rope(reader, 10_000.0, ("linear", "llama3"))
    scaling = rope.llama3
    return arguments | {
        "tie_word_embeddings": reader.take_flag("tie_word_embeddings", False),
        "rope_max_wavelength": rope.theta,
        "rope_position_scaling_factor": rope.factor,
        "rope_frequency_adjustment_factor": scaling and scaling["factor"],
        "rope_low_freq_factor": scaling and scaling["low_freq_factor"],
        "rope_high_freq_factor": scaling and scaling["high_freq_factor"],
        "rope_pretraining_sequence_length": scaling and scaling["original_max_position_embeddings"],
    }


def read_mistral(reader: ConfigReader) -> dict[str, Any]:
    """Returns the arguments of `MistralBackbone`."""
    arguments = _read_decoder(reader, rms_norm_eps=1e-6)
    reader.expect("tie_word_embeddings", (False,), False)
    rope = read_rope(reader, 10_000.0, ("linear",))
    return arguments | {
        "head_dim": reader.take_nullable_count("head_dim", None),
        "rope_max_wavelength": rope.theta,
        "rope_scaling_factor": rope.factor,
        "sliding_window": reader.take_nullable_count("sliding_window", 4096),
    }


def read_qwen2(reader: ConfigReader) -> dict[str, Any]:
    """Returns the arguments of `QwenBackbone`."""
    arguments = _read_decoder(reader, rms_norm_eps=1e-6)
    _expect_plain_head_dim(reader, arguments)
    rope = read_rope(reader, 10_000.0, ("linear",))
    window = _read_window(reader, arguments["num_layers"])
    reader.ignore("use_mrope")
    return arguments | {
        "tie_word_embeddings": reader.take_flag("tie_word_embeddings", False),
        "rope_max_wavelength": rope.theta,
        "rope_scaling_factor": rope.factor,
        "use_sliding_window_attention": window is not None,
        "sliding_window_size": window,
    }


def read_qwen3(reader: ConfigReader) -> dict[str, Any]:
    """Returns the arguments of `Qwen3Backbone`."""
    arguments = _read_decoder(reader, rms_norm_eps=1e-6)
    reader.expect("attention_bias", (False,), False)
    rope = read_rope(reader, 10_000.0, ("linear",))
    return arguments | {
        "head_dim": reader.take_count("head_dim", 128),
        "tie_word_embeddings": reader.take_flag("tie_word_embeddings", False),
        "rope_max_wavelength": rope.theta,
        "rope_scaling_factor": rope.factor,
        "sliding_window_size": _read_window(reader, arguments["num_layers"]),
    }


def read_gemma(reader: ConfigReader) -> dict[str, Any]:
    """Returns the arguments of `GemmaBackbone` for the first Gemma."""
    arguments = _read_gemma_decoder(reader)
    # The first files have `gelu` here; transformers has always computed the approximation, which the models are trained with.
    reader.expect("hidden_act", (*_GELU_TANH, "gelu"), "gelu_pytorch_tanh")
    reader.expect("hidden_activation", _GELU_TANH, "gelu_pytorch_tanh")
    _expect_wavelength(reader)
    arguments["intermediate_dim"] *= 2  # KerasHub counts gate and value together
    return arguments


def read_gemma2(reader: ConfigReader) -> dict[str, Any]:
    """Returns the arguments of `GemmaBackbone` for Gemma 2."""
    arguments = _read_gemma_decoder(reader)
    reader.ignore("hidden_act")  # transformers reads the next one only
    reader.expect("hidden_activation", _GELU_TANH, "gelu_pytorch_tanh")
    _expect_wavelength(reader)
    arguments["intermediate_dim"] *= 2
    expected = [_FULL if i % 2 else _SLIDING for i in range(arguments["num_layers"])]
    reader.expect("layer_types", (expected,), expected)
    reader.ignore("cache_implementation")
    return arguments | {
        "query_head_dim_normalize": _is_scaled_by_head_dim(reader, arguments),
        "use_post_ffw_norm": True,
        "use_post_attention_norm": True,
        "final_logit_soft_cap": reader.take_nullable_positive("final_logit_softcapping", 30.0),
        "attention_logit_soft_cap": reader.take_nullable_positive("attn_logit_softcapping", 50.0),
        "use_sliding_window_attention": True,
        "sliding_window_size": reader.take_count("sliding_window", 4096),
    }


def read_gemma3_text(reader: ConfigReader) -> dict[str, Any]:
    """Returns the arguments of `Gemma3Backbone` without its vision encoder."""
    arguments = _read_gemma_decoder(reader)
    reader.ignore("hidden_act")
    reader.expect("hidden_activation", _GELU_TANH, "gelu_pytorch_tanh")
    reader.ignore("cache_implementation", "attn_implementation")
    local_factor, global_factor = _read_gemma3_rope(reader)
    every = reader.take_count("sliding_window_pattern", reader.take("_sliding_window_pattern", 6))
    made = [_SLIDING if (i + 1) % every else _FULL for i in range(arguments["num_layers"])]
    built_in = [_SLIDING if (i + 1) % 6 else _FULL for i in range(arguments["num_layers"])]
    layers = reader.take("layer_types", made)
    if layers not in (built_in, [_FULL] * len(built_in)):
        reader.reject(f"`layer_types` must be {built_in}: KerasHub's layers have no other. Received: {layers!r}.")
    return arguments | {
        "image_size": None,
        "vision_encoder": None,
        "query_head_dim_normalize": _is_scaled_by_head_dim(reader, arguments),
        "use_query_key_norm": True,
        "use_post_ffw_norm": True,
        "use_post_attention_norm": True,
        "final_logit_soft_cap": reader.take_nullable_positive("final_logit_softcapping", None),
        "attention_logit_soft_cap": reader.take_nullable_positive("attn_logit_softcapping", None),
        "use_sliding_window_attention": layers == built_in,
        "sliding_window_size": reader.take_count("sliding_window", 4096),
        "local_rope_scaling_factor": local_factor,
        "global_rope_scaling_factor": global_factor,
    }


def _read_decoder(reader: ConfigReader, rms_norm_eps: float) -> dict[str, Any]:
    """What all families after GPT-2 have in common."""
    heads = reader.take_count("num_attention_heads")
    reader.expect("hidden_act", ("silu", "swish"), "silu")
    reader.expect("attention_dropout", (0.0,), 0.0, _DROPOUT_REASON)
    return _read_sizes(reader, heads) | {"layer_norm_epsilon": reader.take_positive("rms_norm_eps", rms_norm_eps)}


def _read_gemma_decoder(reader: ConfigReader) -> dict[str, Any]:
    heads = reader.take_count("num_attention_heads")
    reader.expect("attention_dropout", (0.0,), 0.0, _DROPOUT_REASON)
    reader.expect("attention_bias", (False,), False)
    reader.expect("tie_word_embeddings", (True,), True)
    reader.expect("use_bidirectional_attention", (False,), False, "the model would not be causal")
    return _read_sizes(reader, heads) | {
        "head_dim": reader.take_count("head_dim", 256),
        "layer_norm_epsilon": reader.take_positive("rms_norm_eps", 1e-6),
    }


def _read_sizes(reader: ConfigReader, heads: int) -> dict[str, Any]:
    return {
        "vocabulary_size": reader.take_count("vocab_size"),
        "num_layers": reader.take_count("num_hidden_layers"),
        "num_query_heads": heads,
        "num_key_value_heads": reader.take_count("num_key_value_heads", heads),
        "hidden_dim": reader.take_count("hidden_size"),
        "intermediate_dim": reader.take_count("intermediate_size"),
    }


def _expect_plain_head_dim(reader: ConfigReader, arguments: dict[str, Any]) -> None:
    plain = arguments["hidden_dim"] // arguments["num_query_heads"]
    reader.expect("head_dim", (plain,), plain, "KerasHub's layers of this family divide `hidden_size` by the heads")


def _expect_wavelength(reader: ConfigReader) -> None:
    theta = read_rope(reader, 10_000.0, ()).theta
    if theta != 10_000:
        reader.reject(f"`rope_theta` must be 10000: KerasHub's layers have no other. Received: {theta!r}.")


def _read_window(reader: ConfigReader, num_layers: int) -> int | None:
    """The window that all layers attend to; None where they attend to all tokens."""
    used = reader.take_flag("use_sliding_window", False)
    window = reader.take_nullable_count("sliding_window", None) if used else None
    first = reader.take("max_window_layers", 28)
    reader.ignore("sliding_window")
    layers = reader.take("layer_types", [_SLIDING if window and i >= first else _FULL for i in range(num_layers)])
    if layers == [_FULL] * num_layers:
        return None
    if layers == [_SLIDING] * num_layers and window:
        return window
    reader.reject(
        "must have one kind of attention for all layers (`layer_types`, `max_window_layers`): KerasHub's layers of this family "
        f"have one window. Received: {layers!r}, window {window!r}."
    )
    return None


def _is_scaled_by_head_dim(reader: ConfigReader, arguments: dict[str, Any]) -> bool:
    """Whether queries are divided by the root of `head_dim`, and not by that of `hidden_size` a head."""
    scale = reader.take_positive("query_pre_attn_scalar", 256)
    by_head_dim, by_width = arguments["head_dim"], arguments["hidden_dim"] // arguments["num_query_heads"]
    if scale not in (by_head_dim, by_width):
        reader.reject(
            f"`query_pre_attn_scalar` must be `head_dim` ({by_head_dim}) or `hidden_size` a head ({by_width}): KerasHub's layers "
            f"have no other. Received: {scale!r}."
        )
    return scale == by_head_dim


def _read_gemma3_rope(reader: ConfigReader) -> tuple[float, float]:
    """The factors of the layers with a window and of the others; their wavelengths are built in."""
    new, scaling = reader.take("rope_parameters", {}), reader.take("rope_scaling", {})
    inner = list(new.values()) if isinstance(new, Mapping) else []
    if not all(isinstance(part, Mapping) for part in (new, scaling, *inner)):
        reader.reject(f"`rope_scaling` and `rope_parameters` must be objects. Received: {scaling!r}, {new!r}.")
        return 1.0, 1.0
    old = {"rope_theta": reader.take("rope_theta", 1_000_000.0), **scaling}
    local_theta = reader.take("rope_local_base_freq", 10_000.0)
    local = parse_rope(reader, new.get(_SLIDING, {"rope_theta": local_theta}), 10_000.0, ("linear",))
    whole = parse_rope(reader, {**old, **new.get(_FULL, {})}, 1_000_000.0, ("linear",))
    unknown = sorted(new.keys() - {_SLIDING, _FULL})
    if unknown:
        reader.reject(f"`rope_parameters` must be of {_SLIDING} and {_FULL}. Received: {', '.join(unknown)}.")
    if local.theta != 10_000 or whole.theta != 1_000_000:
        reader.reject(
            "`rope_theta` must be 1000000, and 10000 for layers with a window: KerasHub's layers have no other. "
            f"Received: {whole.theta!r}, {local.theta!r}."
        )
    return local.factor, whole.factor
