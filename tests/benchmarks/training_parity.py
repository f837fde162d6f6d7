"""Does the Trainer agree with PyTorch, transformers and PEFT? The loss and the gradient's norm of every step, and the weights.

The two stacks live in two environments, so there are two halves and a folder between them. `export` runs the product: its
datasets, its engine, its optimizer, on the built-in base and the sample data; `compare` needs requirements-parity.txt and
imports nothing of the project. It loads the same weights into `GPT2LMHeadModel`, trains on the same batches with torch's AdamW,
and fails if the curves differ.

    python tests/benchmarks/training_parity.py export --output FOLDER
    python tests/benchmarks/training_parity.py compare FOLDER --output tests/benchmarks/results/training_parity.json

The losses that `compare` writes are the golden ones of tests/components/trainer/test_parity.py.
"""

import argparse
import json
import math
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

BASE = "data/base/tiny_gpt2_en"
DATA = "data/sample/instructions.jsonl"
NUM_STEPS = 20
TRAIN = {"learning_rate": 1e-3, "schedule": "cosine", "warmup_fraction": 0.1, "weight_decay": 0.01, "clip_norm": 1.0}
# Keras factors the last axis of a kernel, as the paper does, in these layers; see components/methods/lora.py.
LORA = {"rank": 4, "alpha": 8, "target_layer_names": ["feedforward_intermediate_dense", "feedforward_output_dense"]}
LORA_MODULES = {"feedforward_intermediate_dense": "mlp.c_fc", "feedforward_output_dense": "mlp.c_proj"}
METHODS: dict[str, dict[str, Any]] = {"full": {}, "lora": LORA}
BATCH_SIZE, MAX_LENGTH, NUM_ROWS = 16, 96, 320
ADAM_BETAS, ADAM_EPSILON = (0.9, 0.999), 1e-7  # Keras' defaults
MAX_RELATIVE_DIFFERENCE = 1e-4


def export(arguments: argparse.Namespace) -> None:
    """Trains with the product and writes what it was given and what came out."""
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    import keras
    import tensorflow as tf
    from cleaning_data import read_records, tokenize
    from parity_export import convert_config, convert_weights

    from components.methods import make_method
    from components.tokenizer.executor import make_record_tokenizer
    from components.trainer.data import make_dataset
    from components.trainer.model import load_model
    from components.trainer.placement import Placement
    from components.trainer.training import make_training_engine

    folder: Path = arguments.output
    folder.mkdir(parents=True, exist_ok=True)
    columns = {"instruction": "instruction", "input": "input", "output": "output"}
    text = {"template": "alpaca", "system": "", "max_length": MAX_LENGTH}
    examples = tokenize(read_records(DATA, columns)[:NUM_ROWS], make_record_tokenizer(BASE, text), "")
    path = str(folder / "examples.tfrecord.gz")
    with tf.io.TFRecordWriter(path, "GZIP") as writer:
        for example in examples:
            record = tf.train.Example()
            record.features.feature["token_ids"].int64_list.value.extend(example.token_ids)
            record.features.feature["loss_weight"].float_list.value.extend(map(float, example.target_mask))
            writer.write(record.SerializeToString())
    for name, options in METHODS.items():
        model = load_model(BASE)
        assert not model.backbone.dropout, "dropout draws other numbers there"
        if name == "full":
            np.savez(folder / "base.npz", **convert_weights(model.backbone))
            (folder / "base.json").write_text(json.dumps(convert_config(model.backbone)))
        method = make_method(name, options)
        method.apply(model)
        start = method.adapter_weights(model)
        data = make_dataset(
            [path],
            batch_size=BATCH_SIZE,
            accumulation_steps=2,
            bucket_boundaries=None,
            max_lengths=4,
            max_length=MAX_LENGTH,
            vocabulary_size=model.backbone.vocabulary_size,
            shuffle=True,
            normalize=True,
        )
        section = TRAIN | {"gradient_accumulation_steps": 2}
        engine = make_training_engine(model, section, NUM_STEPS, Placement(name="one_device", devices=("CPU:0",)))
        arrays: dict[str, Any] = {f"start/{key}": value for key, value in start.items()}
        losses, norms = [], []
        for number, step in enumerate(data.iterate(last=arguments.steps)):
            arrays |= {f"batch/{number}/{key}": value for key, value in densify(step).items()}
            result = engine.train(step)
            losses.append(result.loss)
            norms.append(result.gradient_norm)
        arrays |= {"losses": losses, "norms": norms}
        if name == "full":
            arrays |= {f"end/{key}": value for key, value in convert_weights(model.backbone).items()}
        else:
            arrays |= {f"end/{key}": value for key, value in method.adapter_weights(model).items()}
        np.savez(folder / f"{name}.npz", **arrays)
        print(name, json.dumps([round(loss, 6) for loss in losses]), flush=True)
    assert keras.backend.backend() == "tensorflow"


def densify(step: Any) -> dict[str, np.ndarray]:
    """One batch of a step: token ids, mask, and targets and weights in the places where they belong."""
    shape = step.token_ids.shape
    flat = (shape[0] * shape[1], shape[2] * shape[3])
    targets, weights = np.zeros(flat, np.int64), np.zeros(flat, np.float32)
    positions = step.positions.reshape(flat[0], -1)
    np.put_along_axis(targets, positions, step.targets.reshape(flat[0], -1).astype(np.int64), axis=1)
    np.put_along_axis(weights, positions, step.sample_weight.reshape(flat[0], -1), axis=1)
    rows = (-1, shape[3])
    names = ("token_ids", "padding_mask", "targets", "weights")
    arrays = (step.token_ids, step.padding_mask, targets, weights)
    return {name: array.reshape(rows) for name, array in zip(names, arrays, strict=True)}


def compare(arguments: argparse.Namespace) -> int:
    """Trains anew in PyTorch, writes the report, and returns the exit code."""
    import torch
    from harness import describe_command
    from machine import describe_machine

    torch.set_num_threads(1)
    report: dict[str, Any] = {
        "command": describe_command(),
        "machine": describe_machine(["torch", "transformers", "peft", "numpy"]),
        "limit": {"relative_difference_of_losses": MAX_RELATIVE_DIFFERENCE},
        "methods": {},
    }
    for name in METHODS:
        report["methods"][name] = compare_method(arguments.folder, name)
        print(json.dumps({name: report["methods"][name]}, indent=1))
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return int(
        any(
            figures["losses_max_relative_difference"] > MAX_RELATIVE_DIFFERENCE
            for figures in report["methods"].values()
        )
    )


def compare_method(folder: Path, name: str) -> dict[str, Any]:
    """Trains one method in PyTorch on the batches of an export and returns how it differs."""
    import torch
    from parity_compare import load_model

    with np.load(folder / f"{name}.npz", allow_pickle=False) as file:
        ours = dict(file)
    model = load_model(folder / "base").train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    if name == "lora":
        model = add_lora(model, {key.removeprefix("start/"): v for key, v in ours.items() if key.startswith("start/")})
    parameters = {key: parameter for key, parameter in model.named_parameters() if parameter.requires_grad}
    decayed = [p for p in parameters.values() if p.ndim > 1]
    others = [p for p in parameters.values() if p.ndim < 2]
    groups = [{"params": decayed, "weight_decay": TRAIN["weight_decay"]}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW([group for group in groups if group["params"]], betas=ADAM_BETAS)
    losses, norms = [], []
    for number in range(NUM_STEPS):
        batch = {k: torch.from_numpy(ours[f"batch/{number}/{k}"]) for k in ("token_ids", "targets", "weights")}
        mask = torch.from_numpy(ours[f"batch/{number}/padding_mask"])
        logits = model(input_ids=batch["token_ids"].long(), attention_mask=mask.long()).logits
        nll = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch["targets"].flatten(), reduction="none")
        loss = (nll * batch["weights"].flatten()).sum()
        optimizer.zero_grad()
        loss.backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(parameters.values(), TRAIN["clip_norm"])))
        losses.append(float(loss))
        for group in optimizer.param_groups:
            group["lr"] = get_learning_rate(number)
            # Keras adds its epsilon before, torch after dividing by the second moment's bias correction.
            group["eps"] = ADAM_EPSILON / math.sqrt(1 - ADAM_BETAS[1] ** (number + 1))
        optimizer.step()
    figures = {
        "losses": losses,
        "our_losses": ours["losses"].tolist(),
        "losses_max_relative_difference": relate(ours["losses"], losses),
        "norms_max_relative_difference": relate(ours["norms"], norms),
    }
    if name == "full":
        end = {key: parameter.detach().numpy() for key, parameter in parameters.items()}
        pairs = [(end[key.removeprefix("end/")], value) for key, value in ours.items() if key.startswith("end/")]
    else:
        pairs = [(get_lora(model, key), ours[f"end/{key}"]) for key in list_lora(ours)]
    figures["weights_max_abs_difference"] = max(float(np.abs(a - b).max()) for a, b in pairs)
    figures["weights_compared"] = sum(a.size for a, _ in pairs)
    return figures


def relate(ours: np.ndarray, theirs: list[float]) -> float:
    """The largest difference, relative to theirs."""
    return float(np.max(np.abs(ours - np.array(theirs)) / np.abs(theirs)))


def get_learning_rate(step: int) -> float:
    """Linear warm-up, then cosine to 0."""
    warmup = round(TRAIN["warmup_fraction"] * NUM_STEPS)
    if step < warmup:
        return TRAIN["learning_rate"] * (step + 1) / warmup
    return TRAIN["learning_rate"] * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (NUM_STEPS - warmup)))


def add_lora(model: Any, start: dict[str, np.ndarray]) -> Any:
    """PEFT's LoRA with our first A and B."""
    import torch
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=LORA["rank"], lora_alpha=LORA["alpha"], target_modules=list(LORA_MODULES.values()), fan_in_fan_out=True
    )
    model = get_peft_model(model, config)
    with torch.no_grad():
        for key, value in start.items():
            find_lora(model, key).copy_(torch.from_numpy(value.T))  # PEFT's A is (rank, inputs), B (outputs, rank)
    return model


def list_lora(ours: dict[str, np.ndarray]) -> list[str]:
    """Names of LoRA's weights in an export: `transformer_layer_0/feedforward_output_dense/lora_a`."""
    return [key.removeprefix("start/") for key in ours if key.startswith("start/")]


def find_lora(model: Any, key: str) -> Any:
    """PEFT's parameter of one of our names."""
    layer, module, part = key.split("/")
    block = model.base_model.model.transformer.h[int(layer.rsplit("_", 1)[1])]
    adapted = block.get_submodule(LORA_MODULES[module])
    return (adapted.lora_A if part == "lora_a" else adapted.lora_B)["default"].weight


def get_lora(model: Any, key: str) -> np.ndarray:
    """PEFT's weight of one of our names, in our shape."""
    return find_lora(model, key).detach().numpy().T


def main() -> int:
    """Parses the command line and runs one of the halves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="half", required=True)
    half = commands.add_parser("export", help="train with the product")
    half.add_argument("--output", type=Path, required=True)
    half.add_argument("--steps", type=int, default=NUM_STEPS, help="so many of the steps; for a test of the first ones")
    half.set_defaults(run=export)
    half = commands.add_parser("compare", help="train anew in PyTorch")
    half.add_argument("folder", type=Path, help="an output of `export`")
    half.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "training_parity.json")
    half.set_defaults(run=compare)
    arguments = parser.parse_args()
    return arguments.run(arguments) or 0


if __name__ == "__main__":
    sys.exit(main())
