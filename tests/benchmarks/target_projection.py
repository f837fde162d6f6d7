"""What does it save to compute logits at target positions only? GPT-2 with 124 M parameters, random weights.

    python tests/benchmarks/target_projection.py --data FILE.jsonl.gz --vocabulary FOLDER \\
        --columns instruction=instruction,input=context,output=response

Two sides train on the same batches of the product's `make_dataset`, with the product's optimizer: `targets` is the product's
`FineTuner`, `all` differs only in that it has the logits of all positions, as Keras has: a loss at each of them, times
weight. Each process trains one side, so that its peak of memory is that side's alone. The losses must agree at every step.
"""

import argparse
import gc
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import keras_hub
import numpy as np
import tensorflow as tf

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from gpt2 import GPT2, read_examples
from harness import measure_peak_rss, measure_rss, parse_columns, run_in_fresh_process, write_report

from components.methods import make_method
from components.trainer import training
from components.trainer.data import make_dataset
from components.trainer.fine_tuner import FineTuner
from components.trainer.model import count_parameters
from components.trainer.placement import Placement

METHODS: dict[str, dict[str, Any]] = {"lora": {"rank": 8}, "full": {}}
TRAIN = {
    "learning_rate": 1e-3,
    "schedule": "constant",
    "warmup_fraction": 0.0,
    "weight_decay": 0.01,
    "clip_norm": 1.0,
    "gradient_accumulation_steps": 1,
}
SEED = 0
WARMUP_STEPS = 2
# Relative; what differs is the order of sums.
LOSS_TOLERANCE = 1e-4


class AllPositionsTuner(FineTuner):
    """The training of `FineTuner` with logits (batch, length, vocabulary_size), most of them of weight 0."""

    def __init__(self, causal_lm: keras_hub.models.CausalLM) -> None:
        super().__init__(keras.Model(causal_lm.input, causal_lm.output))  # without a backbone there is no head to cut
        self.dtype_policy = causal_lm.backbone.dtype_policy

    def sum_losses(
        self, inputs: dict[str, Any], loss_inputs: tuple[Any, Any, Any], *, training: bool, static_shapes: bool
    ) -> Any:
        del static_shapes
        shape = keras.ops.shape(inputs["token_ids"])
        positions, *values = (array[0] for array in loss_inputs)
        targets, weight = (
            keras.ops.reshape(keras.ops.scatter(positions[:, None], array, (shape[0] * shape[1],)), shape)
            for array in values
        )
        logits = keras.ops.cast(self(inputs, training=training), "float32")
        nll = keras.ops.sparse_categorical_crossentropy(targets, logits, from_logits=True)
        return keras.ops.sum(nll * weight)  # nll: (batch, length)


SIDES: dict[str, type[keras.Model]] = {"targets": FineTuner, "all": AllPositionsTuner}


def prepare(arguments: argparse.Namespace, path: str) -> dict[str, Any]:
    """Writes transformed examples: weight 1 on a share `keep` of the response tokens, drawn at random, else 0."""
    rng = np.random.default_rng(SEED)
    pairs = (
        [(e.token_ids, e.target_mask) for e in read_examples(arguments, rng)]
        if arguments.data
        else _draw_synthetic(arguments, rng)
    )
    num_tokens = num_response_tokens = num_targets = 0
    with tf.io.TFRecordWriter(path, "GZIP") as writer:
        for token_ids, target_mask in pairs:
            weight = np.where(rng.random(len(token_ids)) < arguments.keep, target_mask, 0)
            example = tf.train.Example()
            example.features.feature["token_ids"].int64_list.value.extend(token_ids)
            example.features.feature["loss_weight"].float_list.value.extend(weight)
            writer.write(example.SerializeToString())
            num_tokens += len(token_ids)
            num_response_tokens += int(np.sum(target_mask))
            num_targets += int(weight.sum())
    return {
        "source": Path(arguments.data).name if arguments.data else "synthetic lengths, random tokens",
        "examples": len(pairs),
        "tokens": num_tokens,
        "response_tokens": num_response_tokens,
        "target_tokens": num_targets,
    }


def _draw_synthetic(arguments: argparse.Namespace, rng: np.random.Generator) -> list[tuple[list[int], list[int]]]:
    pairs = []
    for _ in range(arguments.examples):
        prompt, response = (int(n) for n in rng.lognormal(np.log([60, 70]), 0.8).clip(4, arguments.max_length // 2))
        token_ids = rng.integers(0, GPT2["vocabulary_size"], prompt + response).tolist()
        pairs.append((token_ids, [0] * prompt + [1] * response))
    return pairs


def train(side: str, method: str, path: str, batch_size: int, max_length: int, num_steps: int) -> dict[str, Any]:
    """Trains one side; returns losses, seconds and memory."""
    training.enable_determinism()
    keras.utils.set_random_seed(SEED)
    model = keras_hub.models.GPT2CausalLM(backbone=keras_hub.models.GPT2Backbone(**GPT2))
    make_method(method, METHODS[method]).apply(model)
    # One bucket, so that all steps have one shape.
    data = make_dataset(
        [path],
        batch_size=batch_size,
        bucket_boundaries=[],
        max_length=max_length,
        vocabulary_size=GPT2["vocabulary_size"],
        shuffle=True,
        normalize=True,
        seed=SEED,
    )
    with mock.patch.object(training, "FineTuner", SIDES[side]):
        placement = Placement(name="one_device", devices=())
        engine = training.make_training_engine(model, TRAIN, WARMUP_STEPS + num_steps, placement)
    steps = list(data.iterate(0, WARMUP_STEPS + num_steps))
    gc.collect()
    rss_before = measure_rss()
    losses, seconds = [], []
    for step in steps:
        started = time.perf_counter()
        losses.append(engine.train(step).loss)
        seconds.append(time.perf_counter() - started)
    return {
        "side": side,
        "method": method,
        "trainable_parameters": count_parameters(engine.tuner.trainable_variables),
        "losses": losses,
        "warmup_seconds": seconds[:WARMUP_STEPS],
        "seconds": seconds[WARMUP_STEPS:],
        "rss_before_training": rss_before,
        "peak_rss": measure_peak_rss(),
        "positions": [step.token_ids.size for step in steps],
        "target_tokens": [step.num_target_tokens for step in steps],
    }


def compare(targets: dict[str, Any], everything: dict[str, Any]) -> dict[str, float]:
    """How many times as much `all` takes as `targets`.

    Raises:
        AssertionError: the losses differ, so that the sides do not compute the same.
    """
    first, second = np.array(targets["losses"]), np.array(everything["losses"])
    difference = float(np.max(np.abs(first - second) / np.abs(first)))
    assert difference <= LOSS_TOLERANCE, f"losses differ by {difference:.2e} (relative): {first} and {second}"
    added = [side["peak_rss"] - side["rss_before_training"] for side in (targets, everything)]
    return {
        "seconds_ratio": statistics.median(everything["seconds"]) / statistics.median(targets["seconds"]),
        "peak_rss_ratio": everything["peak_rss"] / targets["peak_rss"],
        "peak_rss_added_by_training_ratio": added[1] / added[0],
        "largest_relative_loss_difference": difference,
    }


def summarize(runs: list[dict[str, Any]], pairs: list[dict[str, float]]) -> dict[str, Any]:
    """Medians over the processes of each side, and over the pairs."""
    summary: dict[str, Any] = {}
    for side in SIDES:
        own = [run for run in runs if run["side"] == side]
        summary[side] = {
            "seconds_per_step": statistics.median(value for run in own for value in run["seconds"]),
            "peak_rss": statistics.median(run["peak_rss"] for run in own),
            "rss_before_training": statistics.median(run["rss_before_training"] for run in own),
        }
    ratios = {name: statistics.median(pair[name] for pair in pairs) for name in pairs[0] if name.endswith("_ratio")}
    worst = max(pair["largest_relative_loss_difference"] for pair in pairs)
    summary["target_share_of_positions"] = sum(runs[0]["target_tokens"]) / sum(runs[0]["positions"])
    return summary | {"all_by_targets": ratios, "largest_relative_loss_difference": worst}


def measure(method: str, path: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Trains both sides `repeats` times, in turns: what else the machine does meets both."""
    runs, pairs = [], []
    for repeat in range(arguments.repeats):
        pair = {}
        for side in sorted(SIDES, reverse=repeat % 2 == 0):
            settings = side, method, path, arguments.batch_size, arguments.max_length, arguments.steps
            pair[side] = run_in_fresh_process(train, *settings)
            runs.append(pair[side])
            median, peak = statistics.median(pair[side]["seconds"]), pair[side]["peak_rss"] / 2**30
            print(f"{method} {repeat + 1}: {side}: {median:.2f} s a step, {peak:.2f} GiB", file=sys.stderr, flush=True)
        pairs.append(compare(pair["targets"], pair["all"]))
        print(f"{method} {repeat + 1}: {json.dumps(pairs[-1])}", file=sys.stderr, flush=True)
    return {"summary": summarize(runs, pairs), "pairs": pairs, "runs": runs}


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="JSON Lines (also .gz); without it, random tokens of synthetic lengths")
    parser.add_argument("--columns", type=parse_columns, default="instruction=instruction,input=input,output=output")
    parser.add_argument("--vocabulary", help="folder with GPT-2's vocab.json and merges.txt")
    parser.add_argument("--method", nargs="+", choices=METHODS, default=["lora"])
    parser.add_argument("--keep", type=float, default=0.6, help="share of the response tokens that are targets")
    parser.add_argument("--examples", type=int, default=1024)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--max-length", type=int, default=256)
    parser.add_argument("--steps", type=int, default=6, help=f"timed steps, after {WARMUP_STEPS} others")
    parser.add_argument("--repeats", type=int, default=3, help="processes of each side")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "target_projection.json")
    arguments = parser.parse_args()
    if arguments.data and not arguments.vocabulary:
        parser.error("--data needs --vocabulary")
    return arguments


def main() -> None:
    """Measures and writes the report."""
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/examples.gz"
        counts = run_in_fresh_process(prepare, arguments, path)
        print(json.dumps(counts), file=sys.stderr, flush=True)
        methods = {method: measure(method, path, arguments) for method in arguments.method}
    names = ("keep", "batch_size", "max_length", "steps", "repeats")
    settings = {name: getattr(arguments, name) for name in names} | {
        "warmup_steps": WARMUP_STEPS,
        "model": GPT2,
        "methods": {method: METHODS[method] for method in arguments.method},
        "train": TRAIN,
        "seed": SEED,
        "xla": training.has_accelerator(),
    }
    write_report({"settings": settings, "data": counts, "methods": methods}, arguments.output)


if __name__ == "__main__":
    main()
