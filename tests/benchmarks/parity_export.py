"""The product's half of token_cleaning_parity.py: scores and cuts, and writes what it was given and what came out."""

import argparse
import contextlib
import hashlib
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from harness import describe_command
from machine import describe_machine
from parity_compare import MODELS, SCOPES
from product import cut, score, serialize

from components.example_gen.files import detect_format
from components.example_gen.readers import SourceFacts, read_file
from components.example_gen.records import Columns, make_example
from components.token_scorer.handler import parse_example
from components.token_scorer.losses import TokenLosses
from components.tokenizer.executor import make_record_tokenizer
from components.trainer.model import load_model, save_preset

REFERENCE_TRAINING = {"steps": 48, "batch_size": 16, "learning_rate": 5e-4, "seed": 0}


def export(arguments: argparse.Namespace) -> None:
    """Scores and cuts with the product, and writes what it was given and what came out."""
    folder: Path = arguments.output
    folder.mkdir(parents=True, exist_ok=True)
    examples = tokenize(arguments)
    reference, training = arguments.reference, None
    if reference is None:
        reference, training = str(folder / "reference"), REFERENCE_TRAINING
        train_reference(arguments.preset, examples, reference)
    ids = [hashlib.sha256(f"{row}".encode()).hexdigest()[:32] for row in range(len(examples))]
    records = [serialize(i, e.token_ids, e.target_mask) for i, e in zip(ids, examples, strict=True)]
    scoring = {"strategy": "fixed", "base": arguments.preset, "reference": reference, "dtype": "float32"}
    scored = score(records, scoring | {"batch_size": arguments.batch_size})
    arrays = {
        "lengths": np.array([len(e.token_ids) for e in examples]),
        "token_ids": np.concatenate([e.token_ids for e in examples]).astype(np.int32),
        "target_mask": np.concatenate([e.target_mask for e in examples]).astype(np.int8),
        "influence": np.concatenate([_get_values(record, "token_influence") for record in scored]).astype(np.float32),
    }
    for scope in SCOPES:
        weights = cut(scored, arguments.keep, scope)
        arrays[f"kept_{scope}"] = np.concatenate([weights[i] for i in ids]) > 0
    for name, preset in zip(MODELS, (arguments.preset, reference), strict=True):
        arrays[f"{name}_loss"] = export_model(preset, scored, folder / name)
    np.savez_compressed(folder / "examples.npz", **arrays)
    settings = {
        "command": describe_command(),
        "data": Path(arguments.data).name,
        "data_sha256": hashlib.sha256(Path(arguments.data).read_bytes()).hexdigest(),
        "rows": len(examples),
        "max_length": arguments.max_length,
        "keep": arguments.keep,
        "batch_size": arguments.batch_size,
        "reference_training": training,
        "machine": describe_machine(
            ["tensorflow", "keras", "keras-hub", "apache-beam", "tensorflow-transform", "tfx", "numpy"]
        ),
    }
    (folder / "settings.json").write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
    print(f"{len(examples)} examples, {int(arrays['target_mask'].sum())} response tokens: {folder}")


def tokenize(arguments: argparse.Namespace) -> list[Any]:
    """Returns the first rows of the data file as `TokenizedRecord`s."""
    columns = Columns(**dict(pair.split("=", 1) for pair in arguments.columns.split(",")))
    text = {"template": "alpaca", "system": "", "max_length": arguments.max_length}
    to_tokens = make_record_tokenizer(arguments.preset, text)
    name = Path(arguments.data).name
    with contextlib.closing(read_file(arguments.data, detect_format(name), columns, SourceFacts())) as items:
        rows = [make_example(item.value, columns, name) for item in itertools.islice(items, arguments.rows)]
    return [tokenized for tokenized in map(to_tokens, rows) if tokenized is not None]


def train_reference(preset: str, examples: Sequence[Any], directory: str) -> None:
    """Fine-tunes the preset for a few steps on the examples themselves, in plain Keras."""
    model = load_model(preset, seed=REFERENCE_TRAINING["seed"])
    network = keras.Model(model.input, model.output)
    network.compile(
        keras.optimizers.AdamW(REFERENCE_TRAINING["learning_rate"]),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    longest = max(len(e.token_ids) for e in examples)
    token_ids, padding_mask, target_mask = np.zeros((3, len(examples), longest), np.int32)
    for row, example in enumerate(examples):
        token_ids[row, : len(example.token_ids)] = example.token_ids
        padding_mask[row, : len(example.token_ids)] = 1
        target_mask[row, : len(example.token_ids)] = example.target_mask
    generator = np.random.default_rng(REFERENCE_TRAINING["seed"])
    for step in range(REFERENCE_TRAINING["steps"]):
        rows = generator.choice(len(examples), REFERENCE_TRAINING["batch_size"])
        inputs = {"token_ids": token_ids[rows, :-1], "padding_mask": padding_mask[rows, :-1]}
        weight = target_mask[rows, 1:] / target_mask[rows, 1:].mean()  # Keras divides by the number of all positions
        loss = network.train_on_batch(inputs, token_ids[rows, 1:], weight)
        if step % 8 == 0:
            print(f"reference: step {step}, loss {float(loss):.3f}", flush=True)
    save_preset(model, directory)


def export_model(preset: str, scored: Sequence[bytes], path: Path) -> np.ndarray:
    """Writes a GPT-2 preset as the arrays and the configuration of `GPT2LMHeadModel`.

    Returns:
        The project's losses of the response tokens, float32 over all tokens, 0 off targets.
    """
    model = load_model(preset)
    np.savez(path.with_suffix(".npz"), **convert_weights(model.backbone))
    path.with_suffix(".json").write_text(json.dumps(convert_config(model.backbone), indent=1) + "\n")
    compute, losses = TokenLosses(model), []
    for example in map(parse_example, scored):
        ids, columns = example.token_ids[None, :-1], example.target_columns
        values = np.zeros(len(example.token_ids), np.float32)
        if len(columns):
            values[columns] = compute(ids, np.ones_like(ids), columns - 1, example.token_ids[columns])
        losses.append(values)
    return np.concatenate(losses)


def convert_weights(backbone: Any) -> dict[str, np.ndarray]:
    """Returns the weights of a KerasHub GPT-2 under the names, and in the shapes, of `GPT2LMHeadModel`."""
    weights = {weight.path: weight.numpy() for weight in backbone.weights}
    width = backbone.hidden_dim
    arrays = {
        "transformer.wte.weight": weights["token_embedding/embeddings"],
        "transformer.wpe.weight": weights["position_embedding/embeddings"],
        "transformer.ln_f.weight": weights["layer_norm/gamma"],
        "transformer.ln_f.bias": weights["layer_norm/beta"],
    }
    for i in range(backbone.num_layers):
        source, target = f"transformer_layer_{i}", f"transformer.h.{i}"
        attention = f"{source}/self_attention"
        parts = ("query", "key", "value")
        arrays |= {
            f"{target}.ln_1.weight": weights[f"{source}/self_attention_layer_norm/gamma"],
            f"{target}.ln_1.bias": weights[f"{source}/self_attention_layer_norm/beta"],
            f"{target}.attn.c_attn.weight": np.concatenate(
                [weights[f"{attention}/{part}/kernel"].reshape(width, width) for part in parts], axis=1
            ),
            f"{target}.attn.c_attn.bias": np.concatenate([weights[f"{attention}/{p}/bias"].ravel() for p in parts]),
            f"{target}.attn.c_proj.weight": weights[f"{attention}/attention_output/kernel"].reshape(width, width),
            f"{target}.attn.c_proj.bias": weights[f"{attention}/attention_output/bias"],
            f"{target}.ln_2.weight": weights[f"{source}/feedforward_layer_norm/gamma"],
            f"{target}.ln_2.bias": weights[f"{source}/feedforward_layer_norm/beta"],
            f"{target}.mlp.c_fc.weight": weights[f"{source}/feedforward_intermediate_dense/kernel"],
            f"{target}.mlp.c_fc.bias": weights[f"{source}/feedforward_intermediate_dense/bias"],
            f"{target}.mlp.c_proj.weight": weights[f"{source}/feedforward_output_dense/kernel"],
            f"{target}.mlp.c_proj.bias": weights[f"{source}/feedforward_output_dense/bias"],
        }
    assert sum(a.size for a in arrays.values()) == sum(w.size for w in weights.values()), "a weight is left over"
    return arrays


def convert_config(backbone: Any) -> dict[str, Any]:
    """Returns the arguments of `GPT2Config` for a KerasHub GPT-2."""
    layers = backbone.transformer_layers
    epsilons = {backbone.layer_norm.epsilon, *(layer.layer_norm_epsilon for layer in layers)}
    activations = {getattr(layer.activation, "__name__", "") for layer in layers}
    assert len(epsilons) == 1 and activations == {"gelu_approximate"}, (epsilons, activations)
    return {
        "vocab_size": backbone.vocabulary_size,
        "n_positions": backbone.max_sequence_length,
        "n_embd": backbone.hidden_dim,
        "n_inner": backbone.intermediate_dim,
        "n_layer": backbone.num_layers,
        "n_head": backbone.num_heads,
        "layer_norm_epsilon": epsilons.pop(),
        "activation_function": "gelu_new",  # the approximation by tanh
    }


def _get_values(record: bytes, name: str) -> np.ndarray:
    feature = tf.train.Example.FromString(record).features.feature[name]
    return np.array(getattr(feature, feature.WhichOneof("kind")).value)
