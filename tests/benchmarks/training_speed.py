"""How fast does the Trainer train, and in how much memory, beside transformers + PEFT and TRL?

GPT-2 with 124 M parameters, `full` and LoRA of rank 8 on all linear layers, on real examples of unequal length. Every side makes its
batches of the same examples, as many of them a batch, with the same optimizer, and with settings of its own that make it
fastest; of its epoch it computes some steps, evenly spread over the lengths of its batches (TRL's packed rows have one length). A
side runs in a process of its own, so that its peak of memory is its own; the sides take turns. What counts is tokens of examples a
second, times the share of all examples' tokens that are targets: target tokens a second, without the chance of which
examples a side happened to compute. Padding is no use.

    python tests/benchmarks/training_speed.py --data FILE.jsonl.gz --vocabulary FOLDER \\
        --columns instruction=instruction,input=context,output=response --peer-python /path/to/python

The peers live in an environment of their own (requirements-parity.txt). Without `--peer-python` only this project's sides run.
"""

import argparse
import dataclasses
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from gpt2 import GPT2
from harness import describe_command, parse_columns
from machine import describe_machine

from components import runtime

METHODS = ("lora", "full")
# This project's sides; the peers' stand in training_speed_peers.py. `auto` is what a run does by default.
OWN_SIDES: dict[str, dict[str, Any]] = {
    "auto": {"backend": "tensorflow", "jit_compile": "auto"},
    "tensorflow": {"backend": "tensorflow", "jit_compile": False},
    "tensorflow xla": {"backend": "tensorflow", "jit_compile": True},
    "jax": {"backend": "jax", "jit_compile": True},
}
PEER_SIDES = ("transformers", "transformers compile", "trl packing", "trl packing compile")
SEED = 0
TRAIN = {
    "learning_rate": 1e-4, "schedule": "constant", "warmup_fraction": 0.0, "weight_decay": 0.01, "clip_norm": 1.0,
    "gradient_accumulation_steps": 1, "epochs": 1, "max_steps": None, "eval_every_steps": 1000,
    "bucket_boundaries": None, "max_lengths": 32, "seed": SEED,
}  # fmt: skip


def prepare(arguments: argparse.Namespace, path: Path) -> dict[str, Any]:
    """Writes the examples as JSON lines of `token_ids` and `target_mask`."""
    from gpt2 import read_examples

    rng = np.random.default_rng(SEED)
    examples = read_examples(arguments, rng)
    with path.open("w") as stream:
        for example in examples:
            mask = [int(value) for value in example.target_mask]
            stream.write(json.dumps({"token_ids": list(map(int, example.token_ids)), "target_mask": mask}) + "\n")
    lengths = [len(example.token_ids) for example in examples]
    return {
        "file": Path(arguments.data).name,
        "examples": len(examples),
        "length_quartiles": np.percentile(lengths, [25, 50, 75]).tolist(),
        "tokens": sum(lengths),
        "target_share": float(sum(sum(example.target_mask) for example in examples) / sum(lengths)),
    }


def train(settings: dict[str, Any]) -> dict[str, Any]:
    """Trains this project's side of the backend in use; returns seconds, tokens, losses and memory."""
    import keras
    import keras_hub
    import tensorflow as tf
    from harness import measure_peak_rss, measure_rss

    from components.methods import make_method
    from components.trainer.memory import cut_to_fit
    from components.trainer.placement import make_placement
    from components.trainer.training import make_datasets, make_training_engine, plan_shapes

    keras.utils.set_random_seed(SEED)
    placement = make_placement({"strategy": "one_device", "mesh": None}, lambda: object)
    model = keras_hub.models.GPT2CausalLM(
        backbone=keras_hub.models.GPT2Backbone(**GPT2, dropout=0.0, dtype=settings["dtype"])
    )
    make_method(settings["method"], {"rank": 8, "alpha": 16} if settings["method"] == "lora" else {}).apply(model)
    path = f"{settings['examples']}.tfrecord.gz"
    with tf.io.TFRecordWriter(path, "GZIP") as writer:
        for line in Path(settings["examples"]).read_text().splitlines():
            content, example = json.loads(line), tf.train.Example()
            example.features.feature["token_ids"].int64_list.value.extend(content["token_ids"])
            example.features.feature["loss_weight"].float_list.value.extend(content["target_mask"])
            writer.write(example.SerializeToString())
    section = TRAIN | {"jit_compile": settings["jit_compile"], "batch_size": settings["batch_size"]}
    train_data, _ = make_datasets([path], [path], model, section, settings["max_length"])
    compilation, data, _ = plan_shapes(model, section, train_data, train_data)
    engine = make_training_engine(model, section, 2 * settings["steps"], placement, compilation.jit_compile)
    tokens = cut_to_fit(engine, data, GPT2["hidden_dim"], None, None)
    data = dataclasses.replace(data, micro_batch_tokens=tokens)
    steps = sorted(data.iterate(0, data.steps_per_epoch), key=lambda step: step.token_ids.shape[-1])
    steps = [steps[int((i + 0.5) * len(steps) / settings["steps"])] for i in range(settings["steps"])]
    # Each length is compiled once; that is reported, and not part of a step's time.
    first_of_length = list({step.token_ids.shape[-1]: step for step in steps}.values())
    gc.collect()
    result: dict[str, Any] = {"rss_before_training": measure_rss(), "seconds": [], "tokens": [], "losses": []}
    result |= {"jit_compile": compilation.jit_compile, "micro_batch_tokens": tokens}
    result |= {"positions": [], "padding_share": data.padding_share, "lengths": list(data.sequence_lengths)}
    compiled: dict[int, float] = {}
    # Without XLA one graph serves all lengths, but TensorFlow makes it in several tries.
    for step in first_of_length if compilation.jit_compile else first_of_length[:: max(len(first_of_length) // 3, 1)]:
        started = time.perf_counter()
        engine.train(step)
        compiled[step.token_ids.shape[-1]] = time.perf_counter() - started
    for step in steps:
        started = time.perf_counter()
        result["losses"].append(engine.train(step).loss)
        result["seconds"].append(time.perf_counter() - started)
        result["tokens"].append(step.num_tokens)
        result["positions"].append(step.token_ids.size)
    return result | {"first_seconds_by_length": compiled, "peak_rss": measure_peak_rss()}


def run_side(side: str, settings: dict[str, Any], peer_python: str) -> dict[str, Any]:
    """Runs one side in a process of its own."""
    own = side in OWN_SIDES
    script = __file__ if own else str(Path(__file__).with_name("training_speed_peers.py"))
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "result.json")
        content = json.dumps(settings | OWN_SIDES.get(side, {}) | {"side": side, "output": str(output)})
        environment = os.environ | (
            runtime.DEFAULTS | {"KERAS_BACKEND": OWN_SIDES[side]["backend"]} if own else {"HF_HUB_OFFLINE": "1"}
        )
        command = [sys.executable if own else peer_python, script, "--side", content]
        subprocess.run(command, env=environment, check=True)
        return json.loads(output.read_text()) | {"side": side, "method": settings["method"]}


def summarize(runs: Sequence[dict[str, Any]], target_share: float) -> dict[str, Any]:
    """Target tokens a second and peak by method and side: medians over processes, and ratios to the best of the peers."""
    summary: dict[str, Any] = {}
    for method in dict.fromkeys(run["method"] for run in runs):
        sides = {}
        for side in dict.fromkeys(run["side"] for run in runs):
            own = [run for run in runs if (run["method"], run["side"]) == (method, side)]
            speeds = [target_share * sum(run["tokens"]) / sum(run["seconds"]) for run in own]
            sides[side] = {
                "target_tokens_per_second": statistics.median(speeds),
                "of_each_process": speeds,
                "peak_rss_gib": statistics.median(run["peak_rss"] for run in own) / 2**30,
            }
        peers = {side: sides[side] for side in sides if side in PEER_SIDES}
        if peers:
            best = max(peers, key=lambda side: peers[side]["target_tokens_per_second"])
            for side in sides.values():
                side["speed_against_best_peer"] = (
                    side["target_tokens_per_second"] / peers[best]["target_tokens_per_second"]
                )
                side["peak_against_best_peer"] = side["peak_rss_gib"] / peers[best]["peak_rss_gib"]
            summary[method] = {"best_peer": best, "sides": sides}
        else:
            summary[method] = {"sides": sides}
    return summary


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--data", help="JSON Lines (also .gz)")
    parser.add_argument("--columns", type=parse_columns, default="instruction=instruction,input=input,output=output")
    parser.add_argument("--vocabulary", help="folder with GPT-2's vocab.json and merges.txt")
    parser.add_argument("--peer-python", default="", help="interpreter with torch, transformers, peft and trl")
    parser.add_argument("--sides", nargs="+", default=[*OWN_SIDES, *PEER_SIDES])
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--examples", type=int, default=2000, help="so many are drawn")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--max-length", type=int, default=512)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=2, help="processes of each side")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "training_speed.json")
    arguments = parser.parse_args()
    if not arguments.side and not (arguments.data and arguments.vocabulary):
        parser.error("--data and --vocabulary are needed")
    return arguments


def main() -> None:
    """Measures and writes the report."""
    arguments = parse_arguments()
    if arguments.side:
        settings = json.loads(arguments.side)
        Path(settings["output"]).write_text(json.dumps(train(settings)))
        return
    names = ("dtype", "batch_size", "max_length", "steps")
    settings = {name: getattr(arguments, name) for name in names}
    sides = [side for side in arguments.sides if side in OWN_SIDES or arguments.peer_python]
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        examples = Path(folder, "examples.jsonl")
        data = prepare(arguments, examples)
        for repeat in range(arguments.repeats):
            for method in arguments.methods:
                for side in sides if repeat % 2 == 0 else reversed(sides):
                    one = settings | {"method": method, "examples": str(examples)}
                    runs.append(run_side(side, one, arguments.peer_python))
                    shown = {key: runs[-1][key] for key in ("side", "method", "seconds", "tokens", "peak_rss")}
                    print(json.dumps(shown), file=sys.stderr, flush=True)
    machine = describe_machine(["tensorflow", "keras", "keras-hub", "jax", "numpy"])
    report = {"command": describe_command(), "machine": machine, "settings": settings, "data": data}
    report |= {"summary": summarize(runs, data["target_share"]), "runs": runs}
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    partial = arguments.output.with_suffix(".partial")
    partial.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    partial.replace(arguments.output)


if __name__ == "__main__":
    main()
