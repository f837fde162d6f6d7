"""GPT-2."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from components.export.hugging_face.families.family import Family
from components.export.hugging_face.layers import find_norm_epsilon
from components.export.hugging_face.tensors import Tensor, keep


def list_tensors(backbone: Any) -> Iterator[Tensor]:
    """The weights: matrices are (in, out), and query, key and value stand side by side in one."""
    yield keep("transformer.wte.weight", backbone.token_embedding.embeddings)
    yield keep("transformer.wpe.weight", backbone.position_embedding.position_embeddings)
    for number, layer in enumerate(backbone.transformer_layers):
        prefix = f"transformer.h.{number}"
        attention = layer._self_attention_layer
        projections = (attention.query_dense, attention.key_dense, attention.value_dense)
        yield from _list_norm(f"{prefix}.ln_1", layer._self_attention_layer_norm)
        yield Tensor(
            name=f"{prefix}.attn.c_attn.weight",
            variables=[dense.kernel for dense in projections],
            transform=lambda *kernels: np.concatenate([k.reshape(k.shape[0], -1) for k in kernels], axis=1),
        )
        yield Tensor(
            name=f"{prefix}.attn.c_attn.bias",
            variables=[dense.bias for dense in projections],
            transform=lambda *biases: np.concatenate([bias.reshape(-1) for bias in biases]),
        )
        yield Tensor(
            name=f"{prefix}.attn.c_proj.weight",
            variables=[attention.output_dense.kernel],
            transform=lambda kernel: kernel.reshape(-1, kernel.shape[-1]),
        )
        yield keep(f"{prefix}.attn.c_proj.bias", attention.output_dense.bias)
        yield from _list_norm(f"{prefix}.ln_2", layer._feedforward_layer_norm)
        for name, dense in (
            ("c_fc", layer._feedforward_intermediate_dense),
            ("c_proj", layer._feedforward_output_dense),
        ):
            yield keep(f"{prefix}.mlp.{name}.weight", dense.kernel)
            yield keep(f"{prefix}.mlp.{name}.bias", dense.bias)
    yield from _list_norm("transformer.ln_f", backbone.layer_norm)


def list_numbers(backbone: Any) -> dict[str, Any]:
    """The numbers of `config.json`."""
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "vocab_size": backbone.vocabulary_size,
        "n_positions": backbone.max_sequence_length,
        "n_embd": backbone.hidden_dim,
        "n_layer": backbone.num_layers,
        "n_head": backbone.num_heads,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": find_norm_epsilon(backbone),
        "scale_attn_weights": True,
        "scale_attn_by_inverse_layer_idx": False,
        "add_cross_attention": False,
        "tie_word_embeddings": True,
    }


def list_rewritten(backbone: Any) -> dict[str, Any]:
    """The width of the feed-forward part: none stands for four times the model's."""
    return {"n_inner": None if backbone.intermediate_dim == 4 * backbone.hidden_dim else backbone.intermediate_dim}


def list_defaults(backbone: Any) -> dict[str, Any]:
    """Rates of dropout, for whoever trains on."""
    return dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), backbone.dropout)


def _list_norm(name: str, norm: Any) -> Iterator[Tensor]:
    yield keep(f"{name}.weight", norm.gamma)
    yield keep(f"{name}.bias", norm.beta)


FAMILY = Family(
    title="GPT-2",
    list_tensors=list_tensors,
    list_numbers=list_numbers,
    list_rewritten=list_rewritten,
    list_defaults=list_defaults,
)
