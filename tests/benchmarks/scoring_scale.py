"""What does the TokenScorer cost with more rows? Wall time should grow in a line, the peak of memory not at all.

    python tests/benchmarks/scoring_scale.py --data FILE.jsonl.gz \\
        --columns instruction=instruction,input=context,output=response

The rows are tokenized and shuffled once, so that lengths are distributed alike in all sizes. Each size is then scored by
the component's own executor in a process of its own, the sizes in turns.
"""

import argparse
import gc
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.types import artifact_utils, standard_artifacts

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from cleaning_data import read_records
from harness import BEAM_ARGUMENTS, measure_peak_rss, measure_rss, parse_columns, run_in_fresh_process, write_report

from components.splits import EVAL, TRAIN
from components.text import features
from components.token_scorer.executor import Executor
from components.token_scorer.handler import InfluenceHandler
from components.tokenizer.executor import make_record_tokenizer

BASE = "data/base/tiny_gpt2_en"
NUM_EVAL = 100
SEED = 0


def prepare(arguments: argparse.Namespace, folder: str) -> dict[str, Any]:
    """Writes tokenized examples of each size as the Tokenizer does; returns what there was and how lengths came out."""
    records = [record for path in arguments.data for record in read_records(path, arguments.columns)]
    text = {"template": "alpaca", "system": "", "max_length": arguments.max_length}
    tokenizer = make_record_tokenizer(BASE, text)
    tokenized = [example for record in records if (example := tokenizer(record)) is not None]
    order = np.random.default_rng(SEED).permutation(len(tokenized))
    lengths = np.array([len(tokenized[i].token_ids) for i in order])
    sizes = {}
    for size in arguments.sizes:
        chosen = np.arange(size) % len(order)
        for split, rows in ((TRAIN, chosen), (EVAL, chosen[:NUM_EVAL])):
            path = Path(artifact_utils.get_split_uri([_make_artifact(f"{folder}/{size}")], split))
            path.mkdir(parents=True)
            with tf.io.TFRecordWriter(str(path / "examples-00000-of-00001.gz"), "GZIP") as writer:
                for number, row in enumerate(rows):
                    writer.write(_serialize(tokenized[order[row]], number))
        counts = Path(folder, str(size), "counts", f"{TRAIN}.json")
        counts.parent.mkdir()
        counts.write_text(json.dumps({"examples": size}))
        quartiles = np.percentile(lengths[chosen], [25, 50, 75]).tolist()
        sizes[size] = {"mean_length": float(lengths[chosen].mean()), "length_quartiles": quartiles}
    return {
        "files": [Path(path).name for path in arguments.data],
        "rows_read": len(records),
        "different_rows": len(tokenized),
        "repeated_rows": {size: max(size - len(tokenized), 0) for size in arguments.sizes},
        "sizes": sizes,
    }


def _make_artifact(uri: str) -> standard_artifacts.Examples:
    artifact = standard_artifacts.Examples()
    artifact.uri = uri
    artifact.split_names = artifact_utils.encode_split_names([TRAIN, EVAL])
    return artifact


def _serialize(tokenized: Any, number: int) -> bytes:
    """One example with the features that the Tokenizer writes; `number` makes repeated rows different ones."""
    example = tf.train.Example()
    values = example.features.feature
    values[features.TOKEN_IDS].int64_list.value.extend(tokenized.token_ids)
    values[features.TARGET_MASK].int64_list.value.extend(tokenized.target_mask)
    values[features.LENGTH].int64_list.value.append(len(tokenized.token_ids))
    for name, value in (
        (features.PROMPT, tokenized.prompt),
        (features.RESPONSE, tokenized.response),
        (features.EXAMPLE_ID, f"{number:064x}"),
        (features.SOURCE, "benchmark"),
    ):
        values[name].bytes_list.value.append(value.encode())
    return example.SerializeToString(deterministic=True)


def score(folder: str, size: int, reference: str, batch_size: int) -> dict[str, Any]:
    """Runs the executor over one size; returns seconds and memory."""
    rss: dict[str, int] = {}
    load_model = InfluenceHandler.load_model

    def load_and_measure(handler: InfluenceHandler) -> Any:
        models = load_model(handler)
        gc.collect()
        rss.update(rss_with_models=measure_rss(), peak_rss_with_models=measure_peak_rss())
        return models

    scoring = {"strategy": "fixed", "split": TRAIN, "base": BASE, "reference": reference}
    scoring |= {"dtype": "float32", "batch_size": batch_size}
    with (
        tempfile.TemporaryDirectory(dir=folder) as output,
        mock.patch.object(InfluenceHandler, "load_model", load_and_measure),
    ):
        target = _make_artifact(f"{output}/scored")
        context = BaseBeamExecutor.Context(BEAM_ARGUMENTS, tmp_dir=output, unique_id="1")
        rss["rss_before"] = measure_rss()
        started = time.perf_counter()
        Executor(context).Do(
            {"examples": [_make_artifact(f"{folder}/{size}")]},
            {"scored_examples": [target]},
            {"scoring": json.dumps(scoring)},
        )
        seconds = time.perf_counter() - started
        num_rows = target.get_int_custom_property("examples")
        assert num_rows == size, f"{num_rows} of {size} rows came out"
        return {
            "rows": num_rows,
            "target_tokens": target.get_int_custom_property("target_tokens"),
            "seconds": seconds,
            **rss,
            "peak_rss": measure_peak_rss(),
        }


def summarize(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Medians by size, the straight line through all runs, and how much memory grows from the smallest to the largest."""
    sizes: dict[int, dict[str, float]] = {}
    for size in sorted({run["rows"] for run in runs}):
        own = [run for run in runs if run["rows"] == size]
        medians = {name: statistics.median(run[name] for run in own) for name in own[0] if name != "rows"}
        sizes[size] = medians | {"seconds_per_1000_rows": medians["seconds"] / size * 1000}
    rows, seconds = np.array([[run["rows"], run["seconds"]] for run in runs], float).T
    slope, intercept = np.polyfit(rows, seconds, 1)
    residual = seconds - (intercept + slope * rows)
    first, last = min(sizes), max(sizes)
    return {
        "sizes": sizes,
        "line": {
            "intercept_seconds": float(intercept),
            "seconds_per_1000_rows": float(slope * 1000),
            "r_squared": float(1 - residual @ residual / np.sum((seconds - seconds.mean()) ** 2)),
        },
        "peak_rss_growth": {
            "rows": [first, last],
            "bytes": sizes[last]["peak_rss"] - sizes[first]["peak_rss"],
            "ratio": sizes[last]["peak_rss"] / sizes[first]["peak_rss"],
        },
    }


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", required=True, help="JSON Lines (also .gz)")
    parser.add_argument("--columns", type=parse_columns, default="instruction=instruction,input=input,output=output")
    parser.add_argument("--reference", default=BASE, help="preset of the reference model")
    parser.add_argument("--sizes", nargs="+", type=int, default=[2000, 4000, 8000, 16000], help="numbers of rows")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--max-length", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=2, help="processes of each size")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "scoring_scale.json")
    arguments = parser.parse_args()
    if len(set(arguments.sizes)) < 2:
        parser.error("--sizes needs two sizes at least")
    return arguments


def main() -> None:
    """Measures and writes the report."""
    arguments = parse_arguments()
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        data = run_in_fresh_process(prepare, arguments, folder)
        print(json.dumps(data), file=sys.stderr, flush=True)
        for repeat in range(arguments.repeats):
            # Up, then down: a machine that gets slower does not bend the line.
            for size in sorted(arguments.sizes, reverse=repeat % 2 == 1):
                runs.append(run_in_fresh_process(score, folder, size, arguments.reference, arguments.batch_size))
                print(json.dumps(runs[-1]), file=sys.stderr, flush=True)
    names = ("sizes", "batch_size", "max_length", "repeats")
    settings = {name: getattr(arguments, name) for name in names} | {
        "base": BASE,
        "reference": Path(arguments.reference).name,
        "num_eval": NUM_EVAL,
        "seed": SEED,
        "beam_arguments": BEAM_ARGUMENTS,
    }
    write_report({"settings": settings, "data": data, "summary": summarize(runs), "runs": runs}, arguments.output)


if __name__ == "__main__":
    main()
