"""What Llama, Mistral, Qwen 2 and Qwen 3 have in common: they differ in biases, in norms and in windows."""

from collections.abc import Iterator
from typing import Any

from components.export.hugging_face.layers import find_norm_epsilon, find_rotaries
from components.export.hugging_face.rope import make_rope
from components.export.hugging_face.tensors import (
    Tensor,
    flatten,
    flip,
    flip_from_heads,
    flip_heads,
    keep,
    list_embeddings,
)


def list_tensors(backbone: Any) -> Iterator[Tensor]:
    """The weights: matrices are (out, in). A head's rotated halves stand in KerasHub as in the layout."""
    yield from list_embeddings(backbone.token_embedding, "model.embed_tokens.weight")
    for number, layer in enumerate(backbone.transformer_layers):
        prefix = f"model.layers.{number}"
        attention = layer._self_attention_layer
        yield keep(f"{prefix}.input_layernorm.weight", layer._self_attention_layernorm.scale)
        for name, dense in (("q", attention._query_dense), ("k", attention._key_dense), ("v", attention._value_dense)):
            yield flip_heads(f"{prefix}.self_attn.{name}_proj.weight", dense.kernel)
            if dense.bias is not None:
                yield flatten(f"{prefix}.self_attn.{name}_proj.bias", dense.bias)
        for name in ("query", "key"):  # Qwen 3
            if norm := getattr(attention, f"_{name}_dense_layer_norm", None):
                yield keep(f"{prefix}.self_attn.{name[0]}_norm.weight", norm.scale)
        yield flip_from_heads(f"{prefix}.self_attn.o_proj.weight", attention._output_dense.kernel)
        yield keep(f"{prefix}.post_attention_layernorm.weight", layer._feedforward_layernorm.scale)
        yield flip(f"{prefix}.mlp.gate_proj.weight", layer._feedforward_gate_dense.kernel)
        yield flip(f"{prefix}.mlp.up_proj.weight", layer._feedforward_intermediate_dense.kernel)
        yield flip(f"{prefix}.mlp.down_proj.weight", layer._feedforward_output_dense.kernel)
    yield keep("model.norm.weight", backbone.layer_norm.scale)


def list_numbers(backbone: Any) -> dict[str, Any]:
    """The numbers of `config.json` that all of them have."""
    return {
        "vocab_size": backbone.vocabulary_size,
        "hidden_size": backbone.hidden_dim,
        "intermediate_size": backbone.intermediate_dim,
        "num_hidden_layers": backbone.num_layers,
        "num_attention_heads": backbone.num_query_heads,
        "num_key_value_heads": backbone.num_key_value_heads,
        "head_dim": get_head_size(backbone),
        "hidden_act": "silu",
        "rms_norm_eps": find_norm_epsilon(backbone),
        "tie_word_embeddings": backbone.token_embedding.tie_weights,
    }


def list_rewritten(backbone: Any) -> dict[str, Any]:
    """The rotary position embedding."""
    return make_rope(find_rotaries(backbone))


def list_defaults(positions: int) -> dict[str, Any]:
    """What only whoever trains on or serves asks for, of a family that is made for so many positions."""
    # KerasHub drops out at other places, so that its rate is not this one.
    return {"attention_dropout": 0.0, "max_position_embeddings": positions, "use_cache": True}


def get_head_size(backbone: Any) -> int:
    """The size of a head, which need not be the width by the number of heads."""
    return int(backbone.transformer_layers[0]._self_attention_layer._query_dense.kernel.shape[-1])


def list_window(backbone: Any, window: int | None) -> dict[str, Any]:
    """The sliding window of Qwen 2 and Qwen 3, of all layers or of none, in the forms of transformers 4 and 5.

    Args:
        backbone: The model's.
        window: How many tokens a token sees, itself among them; None for all.
    """
    kind = "full_attention" if window is None else "sliding_attention"
    return {
        "use_sliding_window": window is not None,
        "sliding_window": window,
        "max_window_layers": backbone.num_layers if window is None else 0,
        "layer_types": [kind] * backbone.num_layers,
    }
