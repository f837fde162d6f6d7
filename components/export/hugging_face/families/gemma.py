"""Gemma, Gemma 2, and Gemma 3 without its eyes."""

from collections.abc import Iterator
from typing import Any

from components.errors import UserError
from components.export.hugging_face.families.family import Family
from components.export.hugging_face.layers import find_common, find_norm_epsilon, find_rotaries
from components.export.hugging_face.rope import describe_rotary, make_rope
from components.export.hugging_face.tensors import Tensor, flip, flip_from_heads, keep, list_embeddings

_POSITIONS = 8192
_POSITIONS_OF_GEMMA3 = 131072
_SLIDING, _FULL = "sliding_attention", "full_attention"


def list_tensors(backbone: Any) -> Iterator[Tensor]:
    """The weights: matrices are (out, in). KerasHub's kernels of query, key and value have the heads first."""
    yield from list_embeddings(backbone.token_embedding, "model.embed_tokens.weight")
    for number, layer in enumerate(backbone.transformer_layers):
        prefix = f"model.layers.{number}"
        attention = layer.attention
        yield keep(f"{prefix}.input_layernorm.weight", layer.pre_attention_norm.scale)
        for name, dense in (("q", attention.query_dense), ("k", attention.key_dense), ("v", attention.value_dense)):
            yield _flip_first_heads(f"{prefix}.self_attn.{name}_proj.weight", dense.kernel)
        for name in ("query", "key"):  # Gemma 3
            if norm := getattr(attention, f"{name}_norm", None):
                yield keep(f"{prefix}.self_attn.{name[0]}_norm.weight", norm.scale)
        yield flip_from_heads(f"{prefix}.self_attn.o_proj.weight", attention.output_dense.kernel)
        if layer.use_post_attention_norm:
            yield keep(f"{prefix}.post_attention_layernorm.weight", layer.post_attention_norm.scale)
        # The first Gemma has one norm between attention and feed-forward, which bears the name of Llama's.
        middle = "pre_feedforward_layernorm" if layer.use_post_attention_norm else "post_attention_layernorm"
        yield keep(f"{prefix}.{middle}.weight", layer.pre_ffw_norm.scale)
        if layer.use_post_ffw_norm:
            yield keep(f"{prefix}.post_feedforward_layernorm.weight", layer.post_ffw_norm.scale)
        yield flip(f"{prefix}.mlp.gate_proj.weight", layer.gating_ffw.kernel)
        yield flip(f"{prefix}.mlp.up_proj.weight", layer.gating_ffw_2.kernel)
        yield flip(f"{prefix}.mlp.down_proj.weight", layer.ffw_linear.kernel)
    yield keep("model.norm.weight", backbone.layer_norm.scale)


def list_numbers(backbone: Any) -> dict[str, Any]:
    """The numbers of the first Gemma's `config.json`."""
    _require(_SLIDING not in _list_types(backbone), backbone, "no sliding window")
    caps = (backbone.attention_logit_soft_cap, backbone.final_logit_soft_cap)
    _require(caps == (None, None), backbone, "no soft cap")
    _require(backbone.query_head_dim_normalize, backbone, "queries divided by the root of a head's size")
    return {"architectures": ["GemmaForCausalLM"], "model_type": "gemma", **_list_common(backbone)}


def list_numbers_of_gemma2(backbone: Any) -> dict[str, Any]:
    """The numbers of Gemma 2's `config.json`."""
    return {
        "architectures": ["Gemma2ForCausalLM"],
        "model_type": "gemma2",
        **_list_common(backbone),
        **_list_attention(backbone),
    }


def list_numbers_of_gemma3(backbone: Any) -> dict[str, Any]:
    """The numbers of Gemma 3's `config.json`, of a model of texts."""
    _require(backbone.vision_encoder is None, backbone, "texts alone: no image encoder")
    _require(not backbone.is_embedding_model and not backbone.use_bidirectional_attention, backbone, "causal attention")
    _require(backbone.use_query_key_norm, backbone, "norms of queries and keys")
    return {
        "architectures": ["Gemma3ForCausalLM"],
        "model_type": "gemma3_text",
        **_list_common(backbone),
        **_list_attention(backbone),
    }


def list_rewritten(backbone: Any) -> dict[str, Any]:
    """The activation, which the first Gemma's config has also under a name that meant another, and the rotary embedding."""
    name = "hidden_activation" if backbone.transformer_layers[0].use_post_attention_norm else "hidden_act"
    return {name: "gelu_pytorch_tanh"} | make_rope(find_rotaries(backbone))


def list_rewritten_of_gemma2(backbone: Any) -> dict[str, Any]:
    """As `list_rewritten`, and which layers have a window."""
    return list_rewritten(backbone) | {"layer_types": _list_types(backbone)}


def list_rewritten_of_gemma3(backbone: Any) -> dict[str, Any]:
    """The activation, which layers have a window, and the rotary embedding of those with and of those without one."""
    types = _list_types(backbone)
    # A kind of layers that a short model has not got still has its entry.
    parameters = {
        _SLIDING: {"rope_type": "default", "rope_theta": 10_000.0},
        _FULL: {"rope_type": "default", "rope_theta": 1_000_000.0},
    }
    for kind in set(types):
        layers = [layer for layer, own in zip(backbone.transformer_layers, types, strict=True) if own == kind]
        described = [describe_rotary(rotary) for layer in layers for rotary in find_rotaries(layer)]
        parameters[kind] = dict(find_common(f"rotation ({kind})", (tuple(of.items()) for of in described)))
    rope: dict[str, Any] = {"rope_parameters": parameters, "rope_theta": parameters[_FULL]["rope_theta"]}
    rope["rope_local_base_freq"] = parameters[_SLIDING]["rope_theta"]
    if parameters[_FULL]["rope_type"] != "default":
        rope["rope_scaling"] = {k: v for k, v in parameters[_FULL].items() if k != "rope_theta"}
    return {"hidden_activation": "gelu_pytorch_tanh", "layer_types": types} | rope


def list_defaults(backbone: Any) -> dict[str, Any]:
    """What only whoever trains on or serves asks for."""
    is_third = hasattr(backbone, "vision_encoder")
    positions = _POSITIONS_OF_GEMMA3 if is_third else _POSITIONS
    return {"attention_dropout": 0.0, "max_position_embeddings": positions, "use_cache": True}


def _list_common(backbone: Any) -> dict[str, Any]:
    return {
        "vocab_size": backbone.vocabulary_size,
        "hidden_size": backbone.hidden_dim,
        "intermediate_size": int(backbone.transformer_layers[0].ffw_linear.kernel.shape[0]),
        "num_hidden_layers": backbone.num_layers,
        "num_attention_heads": backbone.num_query_heads,
        "num_key_value_heads": backbone.num_key_value_heads,
        "head_dim": backbone.head_dim,
        "attention_bias": False,
        "rms_norm_eps": find_norm_epsilon(backbone),
        "tie_word_embeddings": backbone.token_embedding.tie_weights,
    }


def _list_attention(backbone: Any) -> dict[str, Any]:
    """What Gemma 2 and 3 have beyond the first."""
    _require(
        all(layer.use_post_attention_norm and layer.use_post_ffw_norm for layer in backbone.transformer_layers),
        backbone,
        "norms after attention and feed-forward",
    )
    attentions = [layer.attention for layer in backbone.transformer_layers]
    is_by_head = find_common("the scale of queries", (a.query_head_dim_normalize for a in attentions))
    return {
        "query_pre_attn_scalar": backbone.head_dim if is_by_head else backbone.hidden_dim // backbone.num_query_heads,
        "attn_logit_softcapping": find_common("the soft cap of attention", (a.logit_soft_cap for a in attentions)),
        "final_logit_softcapping": backbone.token_embedding.logit_soft_cap,
    } | _list_window(backbone)


def _list_window(backbone: Any) -> dict[str, Any]:
    sizes = [layer.attention.sliding_window_size for layer in backbone.transformer_layers if _is_sliding(layer)]
    return {"sliding_window": find_common("the sliding window", sizes)} if sizes else {}


def _list_types(backbone: Any) -> list[str]:
    return [_SLIDING if _is_sliding(layer) else _FULL for layer in backbone.transformer_layers]


def _is_sliding(layer: Any) -> bool:
    return bool(layer.attention.use_sliding_window_attention)


def _require(is_so: bool, backbone: Any, what: str) -> None:
    if not is_so:
        raise UserError(
            f"this model cannot be written for transformers: a {type(backbone).__name__} must have {what}, as all models of this "
            "family that transformers computes. Export it as `keras` or `savedmodel`."
        )


def _flip_first_heads(name: str, variable: Any) -> Tensor:
    """A kernel (heads, in, head size) as a matrix (heads * head size, in)."""
    return Tensor(name=name, variables=[variable], transform=lambda k: k.transpose(0, 2, 1).reshape(-1, k.shape[1]))


GEMMA = Family(
    title="Gemma",
    list_tensors=list_tensors,
    list_numbers=list_numbers,
    list_rewritten=list_rewritten,
    list_defaults=list_defaults,
)
GEMMA2 = Family(
    title="Gemma 2",
    list_tensors=list_tensors,
    list_numbers=list_numbers_of_gemma2,
    list_rewritten=list_rewritten_of_gemma2,
    list_defaults=list_defaults,
)
GEMMA3 = Family(
    title="Gemma 3 (text)",
    list_tensors=list_tensors,
    list_numbers=list_numbers_of_gemma3,
    list_rewritten=list_rewritten_of_gemma3,
    list_defaults=list_defaults,
)
