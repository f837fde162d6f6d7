"""Mends of KerasHub's converters: what of `config.json` and of the weights is carried over."""

import importlib
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np
from keras_hub.src.utils.transformers import preset_loader
from keras_hub.src.utils.transformers.safetensor_utils import SafetensorLoader

from components.errors import UserError
from components.presets.families import FAMILIES, read_backbone_arguments

# KerasHub's modules, by `model_type`.
_CONVERTERS = {
    "gpt2": "convert_gpt2",
    "llama": "convert_llama3",
    "gemma": "convert_gemma",
    "gemma2": "convert_gemma",
    "gemma3_text": "convert_gemma3",
    "mistral": "convert_mistral",
    "qwen2": "convert_qwen",
    "qwen3": "convert_qwen3",
}
# Tensors of older files that are computed from the configuration: masks and wavelengths.
_COMPUTED = (".attn.bias", ".attn.masked_bias", ".rotary_emb.inv_freq")


def mend() -> None:
    """Replaces the reading of `config.json`, the loading of Mistral's weights and the reader of files."""
    for name in set(_CONVERTERS.values()):
        _mend_config(load_converter(name))
    # Mistral's weights went through float16, whatever the file has: 1e-3 is lost, and what bfloat16 holds above 65,504 is infinite.
    vars(load_converter("convert_mistral"))["convert_weights"] = convert_mistral_weights
    # Tensors that no layer asked for were left out without a word, such as biases that KerasHub's layers do not have.
    preset_loader.SafetensorLoader = CheckedLoader


def load_converter(name: str) -> ModuleType:
    """Returns one of KerasHub's modules that convert."""
    return importlib.import_module(f"keras_hub.src.utils.transformers.{name}")


def _mend_config(module: ModuleType) -> None:
    """KerasHub drops numbers of `config.json` without a word, other ones in each family.

    Llama: `rms_norm_eps`, and `rope_scaling` under its new name. GPT-2: `n_inner`. Gemma: `rms_norm_eps`. Gemma 3: `rope_scaling` beside
    `rope_parameters`, wavelengths. Qwen 2: `use_sliding_window` under a name that the backbone does not have.
    All: kinds of scaling of positions, activations and biases that its layers do not have.
    """
    original = module.convert_backbone_config

    def convert_backbone_config(transformers_config: Mapping[str, Any]) -> dict[str, Any]:
        if transformers_config.get("model_type") not in FAMILIES:
            return original(transformers_config)
        arguments, problems = read_backbone_arguments(transformers_config)
        if problems:
            raise UserError("config.json of the model: " + " ".join(problems))
        return arguments

    vars(module)["convert_backbone_config"] = convert_backbone_config


class CheckedLoader(SafetensorLoader):
    """KerasHub's reader of safetensors files, which says at its end what nobody has read."""

    def __init__(self, preset: str, prefix: str | None = None, fname: str | None = None):
        super().__init__(preset, prefix, fname)
        self._taken: set[str] = set()

    def get_tensor(self, hf_weight_key: str) -> np.ndarray:
        """Returns a tensor by its name, with or without the prefix that all names of the files have."""
        tensor = super().get_tensor(hf_weight_key)
        self._taken.add(hf_weight_key)
        return tensor

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> Any:
        """Closes the files.

        Raises:
            UserError: They have tensors that the model has no place for.
        """
        left = []
        if error is None:
            taken = self._taken | {f"{self.prefix or ''}{name}" for name in self._taken}
            names = {name for file in self.safetensor_files.values() for name in file.keys()}  # noqa: SIM118 - no mapping
            # A file that holds nothing but such tensors was never opened.
            names |= set((self.safetensor_config or {}).get("weight_map", {}))
            # Beside tied embeddings, some files have the output layer a second time; transformers does not read it either.
            allowed = "lm_head.weight"
            left = sorted(n for n in names - taken if not n.endswith(_COMPUTED) and n != allowed)
        closed = super().__exit__(kind, error, traceback)
        if left:
            raise UserError(
                f"the weights have tensors that KerasHub's layers of this family have no place for: {', '.join(left[:3])}"
                f"{f' and {len(left) - 3} more' if len(left) > 3 else ''}. The model would compute something else without them."
            )
        return closed


def convert_mistral_weights(backbone: Any, loader: SafetensorLoader, transformers_config: Mapping[str, Any]) -> None:
    """Loads a Mistral model's weights as they are in the file; see `mend`."""

    def port(variable: Any, name: str) -> None:
        # PyTorch's kernels are (out, in); KerasHub's are (in, heads, size a head) or (in, out), or the other way round at the end.
        loader.port_weight(variable, name, lambda value, shape: np.reshape(np.transpose(value), shape))

    loader.port_weight(backbone.token_embedding.embeddings, "model.embed_tokens.weight")
    port(backbone.token_embedding.reverse_embeddings, "lm_head.weight")
    for i, layer in enumerate(backbone.transformer_layers):
        prefix, attention = f"model.layers.{i}", layer._self_attention_layer
        port(layer._self_attention_layernorm.scale, f"{prefix}.input_layernorm.weight")
        port(layer._feedforward_layernorm.scale, f"{prefix}.post_attention_layernorm.weight")
        port(attention._query_dense.kernel, f"{prefix}.self_attn.q_proj.weight")
        port(attention._key_dense.kernel, f"{prefix}.self_attn.k_proj.weight")
        port(attention._value_dense.kernel, f"{prefix}.self_attn.v_proj.weight")
        port(attention._output_dense.kernel, f"{prefix}.self_attn.o_proj.weight")
        port(layer._feedforward_gate_dense.kernel, f"{prefix}.mlp.gate_proj.weight")
        port(layer._feedforward_intermediate_dense.kernel, f"{prefix}.mlp.up_proj.weight")
        port(layer._feedforward_output_dense.kernel, f"{prefix}.mlp.down_proj.weight")
    port(backbone.layer_norm.scale, "model.norm.weight")
