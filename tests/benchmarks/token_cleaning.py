"""Does token cleaning help? All tokens, random, fixed and self-evolving cleaning, at the same number of optimizer steps.

    python tests/benchmarks/token_cleaning.py sample
    python tests/benchmarks/token_cleaning.py gsm8k --train FILE --test FILE

`sample` is the built-in sample data with 30 % of the answers' tokens made noise by a seeded script, so that it is known which
tokens are noise; the test split is clean. `gsm8k` is real data as it is. Every training, scoring and cut is the product's own
code. Each result is written to the JSON file as soon as it is there; a run that is started again goes on behind the last one.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf
from scipy import stats

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from cleaning_data import Example, add_noise, read_records, tokenize
from harness import write_report
from product import cut, score, serialize

from components.methods import make_method
from components.partitioner.executor import assign_part
from components.tokenizer.executor import make_record_tokenizer
from components.trainer.data import make_dataset
from components.trainer.fine_tuner import FineTuner
from components.trainer.fit import train
from components.trainer.model import load_model, save_preset
from components.trainer.placement import Placement
from components.trainer.training import enable_determinism, make_datasets, make_training_engine

BASE = "data/base/tiny_gpt2_en"
ARMS = ("full", "random", "fixed", "self_evolving")
PARTS = 5
WARMUP_SHARE = 0.2
SETTINGS: dict[str, dict[str, Any]] = {
    "sample": {
        "max_length": 96, "num_train": 5120, "num_test": 640, "noise": 0.3, "keep": 0.7, "steps": 320,
        "batch_size": 32, "bucket_boundaries": [32, 48], "reference_steps": 96,
    },
    "gsm8k": {
        "max_length": 256, "num_train": 2000, "num_test": 400, "noise": 0.0, "keep": 0.6, "steps": 125,
        "batch_size": 16, "bucket_boundaries": [128, 192], "reference_steps": 50,
    },
}  # fmt: skip


class Experiment:
    """One data set and seed; trains its arms."""

    def __init__(self, folder: Path, settings: dict[str, Any], records: dict[str, list[dict[str, str]]], seed: int):
        self.folder, self.settings, self.seed = folder, settings, seed
        text = {"template": "alpaca", "system": "", "max_length": settings["max_length"]}
        tokenizer = make_record_tokenizer(BASE, text)
        train_examples = tokenize(records["train"], tokenizer, "train")
        self.test = tokenize(records["test"], tokenizer, "test")
        self.vocabulary_size = tokenizer._tokenizer.vocabulary_size()
        if settings["noise"]:
            train_examples = add_noise(
                train_examples, settings["noise"], tokenizer._tokenizer, self.vocabulary_size, seed
            )
        self.train = [e for e in train_examples if len(e.token_ids) <= settings["max_length"]]
        self.test_pattern = self.write("test", self.test, {})
        # The loop evaluates before and after; what counts is measured by `measure`.
        self.few_pattern = self.write("few", self.test[:32], {})

    def write(self, name: str, examples: Sequence[Example], weights: dict[str, list[float]]) -> str:
        """Writes transformed examples; without weights, all response tokens count."""
        path = self.folder / name
        path.mkdir(parents=True, exist_ok=True)
        with tf.io.TFRecordWriter(str(path / "examples.gz"), "GZIP") as writer:
            for example in examples:
                record = tf.train.Example()
                record.features.feature["token_ids"].int64_list.value.extend(example.token_ids)
                weight = weights.get(example.example_id, example.target_mask)
                record.features.feature["loss_weight"].float_list.value.extend(weight)
                writer.write(record.SerializeToString())
        return str(path / "*")

    def score(self, examples: Sequence[Example], strategy: str, reference: str) -> list[bytes]:
        """Scores by the product's component; returns serialized scored examples."""
        records = [serialize(e.example_id, e.token_ids, e.target_mask) for e in examples]
        scoring = {"strategy": strategy, "base": BASE, "reference": reference, "dtype": "float32"}
        return score(records, scoring | {"batch_size": 32, "seed": self.seed})

    def cut(self, scored: Sequence[bytes]) -> dict[str, list[float]]:
        """Cuts by the product's preprocessing function; returns the weights by example."""
        return cut(scored, self.settings["keep"], "dataset")

    def fine_tune(self, start: str, pattern: str, steps: int, save: str | None = None) -> FineTuner:
        """Trains all weights of a preset for `steps` steps, by the product's trainer."""
        section = {
            "batch_size": self.settings["batch_size"], "gradient_accumulation_steps": 1, "epochs": 1,
            "max_steps": steps, "learning_rate": 1e-3, "schedule": "cosine", "warmup_fraction": 0.05,
            "weight_decay": 0.01, "clip_norm": 1.0, "seed": self.seed,
            "bucket_boundaries": self.settings["bucket_boundaries"], "max_lengths": 32,
        }  # fmt: skip
        model = load_model(start, "float32", self.seed)
        make_method("full", {}).apply(model)
        data = make_datasets([pattern], [self.few_pattern], model, section, self.settings["max_length"])
        engine = make_training_engine(model, section, steps, Placement(name="one_device", devices=()))
        # One evaluation, at the end: nothing is selected on the test split.
        train(engine, *data, num_steps=steps, eval_every_steps=steps, checkpoint_every_steps=10**9)
        if save:
            shutil.rmtree(save, ignore_errors=True)
            save_preset(model, save)
        return engine.tuner

    def run(self, arm: str) -> dict[str, Any]:
        """Trains one arm and measures it on the clean test split."""
        started = time.monotonic()
        weights: dict[str, list[float]] = {}
        steps, extra_steps = self.settings["steps"], 0
        if arm == "full":
            tuner = self.fine_tune(BASE, self.write(arm, self.train, {}), steps)
        elif arm == "random":
            weights = self.cut(self.score(self.train, "random", ""))
            tuner = self.fine_tune(BASE, self.write(arm, self.train, weights), steps)
        elif arm == "fixed":
            shares = {"warmup": WARMUP_SHARE}
            warmup = [e for e in self.train if assign_part(e.example_id.encode(), shares, self.seed)]
            reference, extra_steps = str(self.folder / "reference"), self.settings["reference_steps"]
            self.fine_tune(BASE, self.write("warmup", warmup, {}), extra_steps, save=reference)
            weights = self.cut(self.score(self.train, "fixed", reference))
            tuner = self.fine_tune(BASE, self.write(arm, self.train, weights), steps)
        else:
            shares = {f"part_{i}": 1 / PARTS for i in range(PARTS)}
            parts: dict[str, list[Example]] = {name: [] for name in shares}
            for example in self.train:
                parts[assign_part(example.example_id.encode(), shares, self.seed) or ""].append(example)
            newest = BASE
            for i, (name, examples) in enumerate(parts.items()):
                part_weights = self.cut(self.score(examples, "self_evolving", newest)) if i else {}
                weights |= part_weights
                following = str(self.folder / f"round_{i}")
                tuner = self.fine_tune(newest, self.write(name, examples, part_weights), steps // PARTS, save=following)
                newest = following
        result = {"arm": arm, "seed": self.seed, "steps": steps, "extra_steps": extra_steps}
        result |= self.measure(tuner) | self.compare_with_truth(weights)
        return result | {"seconds": round(time.monotonic() - started, 1)}

    def measure(self, tuner: FineTuner) -> dict[str, float]:
        """Loss, token accuracy and exact match on the test split.

        An answer is a greedy match exactly if every token of it is ranked first, given the true tokens before.
        """
        data = make_dataset(
            [self.test_pattern], batch_size=32, bucket_boundaries=self.settings["bucket_boundaries"],
            max_length=self.settings["max_length"], vocabulary_size=self.vocabulary_size,
        )  # fmt: skip
        loss = num_tokens = correct = matches = rows = 0.0
        for step in data.iterate():
            logits = keras.ops.convert_to_numpy(tuner.compute_logits(step))[0].astype(np.float64)
            targets, counted = step.targets[0, 0], step.sample_weight[0, 0] > 0
            log_sum = np.log(np.exp(logits - logits.max(1, keepdims=True)).sum(1)) + logits.max(1)
            nll = log_sum - logits[np.arange(len(targets)), targets]
            right = logits.argmax(1) == targets
            loss += nll[counted].sum()
            correct += right[counted].sum()
            num_tokens += counted.sum()
            row = step.positions[0, 0] // step.token_ids.shape[3]
            for r in np.unique(row[counted]):
                rows += 1
                matches += right[counted & (row == r)].all()
        return {"loss": loss / num_tokens, "token_accuracy": correct / num_tokens, "exact_match": matches / rows}

    def compare_with_truth(self, weights: dict[str, list[float]]) -> dict[str, Any]:
        """Precision and recall of the dropped tokens, over the examples that were cleaned."""
        if not weights:
            return {}
        dropped, truth = [], []
        for example in self.train:
            if example.example_id in weights:
                target = np.array(example.target_mask) > 0
                dropped.append(np.array(weights[example.example_id])[target] == 0)
                truth.append(np.array(example.is_noise)[target])
        is_dropped, kind = np.concatenate(dropped), np.concatenate(truth)
        result = {"kept_share": float(1 - is_dropped.mean()), "num_cleaned_tokens": len(is_dropped)}
        if kind.any():
            result["precision"] = float((kind[is_dropped] > 0).mean())
            for name, mask in (
                ("recall", kind > 0),
                ("recall_boilerplate", kind == 1),
                ("recall_corrupted", kind == 2),
            ):
                result[name] = float(is_dropped[mask].mean())
            result["noise_share"] = float((kind > 0).mean())
        return result


def summarize(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Means over seeds with 95 % intervals (Student's t), and differences from `full`, paired by seed."""
    names = sorted({k for r in results for k, v in r.items() if isinstance(v, float) and k != "seconds"})
    summary: dict[str, Any] = {}
    full = {r["seed"]: r for r in results if r["arm"] == "full"}
    for arm in dict.fromkeys(r["arm"] for r in results):
        own = [r for r in results if r["arm"] == arm]
        summary[arm] = {n: _interval([r[n] for r in own if n in r]) for n in names if any(n in r for r in own)}
        for n in ("loss", "token_accuracy", "exact_match"):
            if arm != "full" and (pairs := [r[n] - full[r["seed"]][n] for r in own if r["seed"] in full]):
                summary[arm][f"{n}_minus_full"] = _interval(pairs)
    return summary


def _interval(values: Sequence[float]) -> dict[str, float]:
    mean = float(np.mean(values))
    if len(values) < 2:
        return {"mean": mean, "n": len(values)}
    half = float(stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))
    return {"mean": mean, "low": mean - half, "high": mean + half, "n": len(values)}


def load_records(arguments: argparse.Namespace, settings: dict[str, Any]) -> dict[str, list[dict[str, str]]]:
    """Returns the training and test records."""
    if arguments.data_set == "sample":
        columns = {name: name for name in ("instruction", "input", "output")}
        records = read_records("data/sample/instructions.jsonl", columns)
        n = settings["num_train"]
        return {"train": records[:n], "test": records[n : n + settings["num_test"]]}
    columns = {"instruction": "question", "output": "answer"}
    return {
        "train": read_records(arguments.train, columns)[: settings["num_train"]],
        "test": read_records(arguments.test, columns)[: settings["num_test"]],
    }


def main() -> None:
    """Runs what the result file does not hold yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_set", choices=SETTINGS)
    parser.add_argument("--train", help="gsm8k: training file (JSON Lines, also .gz)")
    parser.add_argument("--test", help="gsm8k: test file")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    if arguments.data_set == "gsm8k" and not (arguments.train and arguments.test):
        parser.error("gsm8k needs --train and --test")
    settings = SETTINGS[arguments.data_set]
    output = arguments.output or Path(__file__).parent / "results" / f"token_cleaning_{arguments.data_set}.json"
    held = json.loads(output.read_text()) if output.exists() else {"results": []}
    results = held["results"] if held.get("settings", settings) == settings else []
    records = load_records(arguments, settings)
    enable_determinism()
    for seed in arguments.seeds:
        todo = [arm for arm in arguments.arms if not any((r["arm"], r["seed"]) == (arm, seed) for r in results)]
        with tempfile.TemporaryDirectory() as folder:
            experiment = Experiment(Path(folder), settings, records, seed) if todo else None
            for arm in todo:
                assert experiment is not None
                results.append(experiment.run(arm))
                print(json.dumps(results[-1]), file=sys.stderr, flush=True)
                write_report({"settings": settings, "summary": summarize(results), "results": results}, output)
    # Also if there was nothing to do: results of several processes may have been put together.
    write_report({"settings": settings, "summary": summarize(results), "results": results}, output)


if __name__ == "__main__":
    main()
