"""Writes tiny random models of every family as Hugging Face folders, with their logits.

Made with transformers 5.23.0 and torch 2.13 on a CPU (any environment that has both): `python write_models.py [NAME ...]`.

Each configuration has values that differ from the defaults of KerasHub's backbones. The script checks that they matter: with each of
the values of `DEFAULTS` in turn, logits must change by a hundred times the tolerance of the tests.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

HERE = Path(__file__).resolve().parent
VOCABULARY_SIZE = 320
SIZES = {
    "vocab_size": VOCABULARY_SIZE,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "factor": 32.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
LLAMA3_IDS = {"bos_token_id": 295, "eos_token_id": [296, 297]}
SMOLLM2_IDS = {"bos_token_id": 298, "eos_token_id": 299, "pad_token_id": 299}
QWEN_IDS = {"bos_token_id": 297, "eos_token_id": 299}
GEMMA_IDS = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2}
# By name: model type, tokenizer, configuration.
MODELS = {
    "gpt2": (
        "gpt2",
        "gpt2",
        {"vocab_size": VOCABULARY_SIZE, "n_embd": 16, "n_inner": 24, "n_layer": 2, "n_head": 4, "n_positions": 64}
        | {"resid_pdrop": 0.05, "embd_pdrop": 0.05, "attn_pdrop": 0.05, "bos_token_id": 299, "eos_token_id": 299},
    ),
    "llama3": (
        "llama",
        "llama3",
        SIZES
        | LLAMA3_IDS
        | {"rms_norm_eps": 1e-2, "tie_word_embeddings": False, "rope_parameters": {"rope_theta": 500.0} | LLAMA3_ROPE},
    ),
    "llama3_tied": (
        "llama",
        "llama3",
        SIZES
        | LLAMA3_IDS
        | {"rms_norm_eps": 2e-2, "tie_word_embeddings": True, "rope_parameters": {"rope_theta": 300.0} | LLAMA3_ROPE},
    ),
    "llama_linear": (
        "llama",
        "llama3",
        SIZES
        | LLAMA3_IDS
        | {"rms_norm_eps": 1e-2, "rope_parameters": {"rope_theta": 100.0, "rope_type": "linear", "factor": 4.0}},
    ),
    "smollm2": (
        "llama",
        "smollm2",
        SIZES
        | SMOLLM2_IDS
        | {"rms_norm_eps": 1e-2, "tie_word_embeddings": True, "rope_parameters": {"rope_theta": 50.0}},
    ),
    "gemma": ("gemma", "gemma", SIZES | GEMMA_IDS | {"rms_norm_eps": 1e-2, "head_dim": 8, "num_key_value_heads": 1}),
    "gemma2": (
        "gemma2",
        "gemma",
        SIZES
        | GEMMA_IDS
        | {"rms_norm_eps": 1e-2, "head_dim": 8, "query_pre_attn_scalar": 8, "sliding_window": 4, "num_hidden_layers": 3}
        | {"final_logit_softcapping": 2.0, "attn_logit_softcapping": 1.5},
    ),
    "gemma2_by_width": (
        "gemma2",
        "gemma",
        SIZES
        | GEMMA_IDS
        | {"rms_norm_eps": 1e-2, "head_dim": 8, "query_pre_attn_scalar": 4, "sliding_window": 5}
        | {"final_logit_softcapping": None, "attn_logit_softcapping": None},
    ),
    "gemma3": (
        "gemma3_text",
        "gemma",
        SIZES
        | GEMMA_IDS
        | {"rms_norm_eps": 1e-2, "head_dim": 8, "query_pre_attn_scalar": 4, "sliding_window": 4, "num_hidden_layers": 7}
        | {
            "rope_parameters": {
                "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
                "full_attention": {"rope_type": "linear", "rope_theta": 1_000_000.0, "factor": 8.0},
            },
        },
    ),
    "mistral": (
        "mistral",
        "mistral",
        SIZES
        | {"rms_norm_eps": 1e-2, "head_dim": 8, "sliding_window": 4, "rope_parameters": {"rope_theta": 200.0}}
        | {"bos_token_id": 1, "eos_token_id": 2},
    ),
    "mistral_whole": (
        "mistral",
        "mistral",
        SIZES
        | {"rms_norm_eps": 1e-2, "sliding_window": None, "bos_token_id": 1, "eos_token_id": 2}
        | {"rope_parameters": {"rope_theta": 200.0, "rope_type": "linear", "factor": 2.0}},
    ),
    "qwen2": (
        "qwen2",
        "qwen",
        SIZES
        | QWEN_IDS
        | {"rms_norm_eps": 1e-2, "tie_word_embeddings": False, "rope_parameters": {"rope_theta": 300.0}},
    ),
    "qwen2_window": (
        "qwen2",
        "qwen",
        SIZES
        | QWEN_IDS
        | {"rms_norm_eps": 1e-2, "tie_word_embeddings": True, "rope_parameters": {"rope_theta": 300.0}}
        | {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 0},
    ),
    "qwen3": (
        "qwen3",
        "qwen",
        SIZES
        | QWEN_IDS
        | {"rms_norm_eps": 1e-2, "head_dim": 8, "tie_word_embeddings": False, "rope_parameters": {"rope_theta": 300.0}},
    ),
    "qwen3_tied": (
        "qwen3",
        "qwen",
        SIZES
        | QWEN_IDS
        | {"rms_norm_eps": 1e-2, "head_dim": 8, "tie_word_embeddings": True, "rope_parameters": {"rope_theta": 300.0}}
        | {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 0},
    ),
}
# What KerasHub's backbones take where nothing is said.
DEFAULTS = {
    "rms_norm_eps": 1e-6,
    "rope_parameters": {"rope_theta": 10_000.0, "rope_type": "default"},
    "sliding_window": 64,
    "query_pre_attn_scalar": 8,
    "final_logit_softcapping": 1000.0,
    "attn_logit_softcapping": 1000.0,
}
# The same numbers as transformers 4 writes them, which is how most models on the hub are published.
OLD_FORMS = {
    "llama3_tied": {"rope_theta": 300.0, "rope_scaling": LLAMA3_ROPE},
    "qwen2": {"rope_theta": 300.0, "rope_scaling": None},
    "mistral_whole": {"rope_theta": 200.0, "rope_scaling": {"type": "linear", "factor": 2.0}},
    "gemma3": {
        "rope_theta": 1_000_000.0,
        "rope_local_base_freq": 10_000.0,
        "rope_scaling": {"rope_type": "linear", "factor": 8.0},
        "sliding_window_pattern": 6,
    },
}
SHARDED = ("llama3_tied", "mistral_whole")
BFLOAT16 = ("qwen3_tied",)


def fill(model: torch.nn.Module) -> None:
    """Random weights of which all matter: scales are not all one, nor biases zero."""
    generator = torch.Generator().manual_seed(0)
    for name, value in model.named_parameters():
        random = torch.randn(value.shape, generator=generator)
        is_scale = name.endswith("weight") and value.ndim == 1
        plus_one = is_scale and "Gemma" not in type(model).__name__  # Gemma adds the one itself
        # Activations stay so small that an epsilon of 1e-2 is felt.
        size = 0.3 if value.ndim == 1 else 0.05 if "embed" in name or "wte" in name or "wpe" in name else 0.4
        value.data.copy_(size * random + (1.0 if plus_one else 0.0))


def compute_logits(model: torch.nn.Module, token_ids: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return model(input_ids=torch.tensor(token_ids)).logits.float().numpy()


def check_values_matter(kind: str, config: dict, model: torch.nn.Module, token_ids: np.ndarray, logits: np.ndarray):
    for key, default in DEFAULTS.items():
        if config.get(key) is None or config[key] == default:
            continue
        if key == "rope_parameters" and kind == "gemma3_text":
            default = config[key] | {"full_attention": config[key]["sliding_attention"] | {"rope_theta": 1_000_000.0}}
        other = AutoModelForCausalLM.from_config(
            CONFIG_MAPPING[kind](**config | {key: default}), attn_implementation="eager"
        )
        other.load_state_dict(model.state_dict())
        change = np.abs(compute_logits(other.eval(), token_ids) - logits).max()
        assert change > 1e-2, (kind, key, change)
        print(f"  {key}: {change:.3f}")


def write_model(name: str) -> None:
    kind, tokenizer, config = MODELS[name]
    folder = HERE / name
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(CONFIG_MAPPING[kind](**config), attn_implementation="eager").eval()
    fill(model)
    if name in BFLOAT16:  # the values of the file, computed in float32; buffers (wavelengths) are never of the file
        for value in model.parameters():
            value.data.copy_(value.data.to(torch.bfloat16))
    token_ids = np.random.default_rng(0).integers(3, 290, (2, 12))
    logits = compute_logits(model, token_ids)
    print(f"{name}: logits up to {np.abs(logits).max():.2f}")
    check_values_matter(kind, config, model, token_ids, logits)
    if name in BFLOAT16:
        model = model.to(torch.bfloat16)
    model.save_pretrained(folder, max_shard_size="20KB" if name in SHARDED else "1GB")
    (folder / "generation_config.json").unlink(missing_ok=True)
    (folder / "config.json").chmod(0o644)
    if name in OLD_FORMS:
        path = folder / "config.json"
        written = {k: v for k, v in json.loads(path.read_text()).items() if k not in ("rope_parameters", "layer_types")}
        written.pop("_sliding_window_pattern", None)
        written["torch_dtype"] = written.pop("dtype")
        path.write_text(json.dumps(written | OLD_FORMS[name], indent=2) + "\n")
    for path in folder.glob("*.safetensors"):
        path.chmod(0o644)
    np.savez_compressed(folder / "logits.npz", token_ids=token_ids.astype("int32"), logits=logits, tokenizer=tokenizer)


if __name__ == "__main__":
    for name in sys.argv[1:] or MODELS:
        write_model(name)
