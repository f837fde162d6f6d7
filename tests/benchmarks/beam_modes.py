"""What do worker processes of Beam's direct runner bring, and cost, on one machine: in_memory against multi_processing?

The project's own executors (ExampleGen, StatisticsGen, Tokenizer) over generated rows, and a light and a heavy function over the
same number of TFRecords. Each round runs every work in both modes, in turns; each turn is a process of its own that has imported
everything before the clock runs. What workers import is part of the time, as it is of every node's.

    python tests/benchmarks/beam_modes.py --rows 50000 --repeats 5
"""

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from harness import run_in_fresh_process, write_report

from configs.runner_schema import BeamSection
from pipeline.beam.options import make_beam_args

ROOT = Path(__file__).resolve().parents[2]
PRESET = ROOT / "data" / "base" / "tiny_gpt2_en"
MODES = ("in_memory", "multi_processing")
WORDS = [f"word{number}" for number in range(1000)]
SPLITS = {"train": 0.8, "eval": 0.1, "test": 0.1}
# Of the heavy function, a record: about a millisecond.
_HASHES = 2000


def write_rows(folder: Path, rows: int, files: int) -> None:
    """Writes JSON Lines for the nodes (`rows-*.jsonl`) and TFRecords for the functions (`records-*`), `files` of each."""
    import tensorflow as tf

    draw = random.Random(0)
    for file in range(files):
        lines = []
        for number in range(file, rows, files):
            prompt, answer = (" ".join(draw.choices(WORDS, k=draw.randint(5, 80))) for _ in range(2))
            lines.append(json.dumps({"instruction": f"{number} {prompt}", "input": "", "output": answer}))
        (folder / f"rows-{file}.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        with tf.io.TFRecordWriter(str(folder / f"records-{file}")) as writer:
            for line in lines:
                writer.write(line.encode())


def run_nodes(folder: Path, args: list[str]) -> dict[str, Any]:
    """Runs ExampleGen, StatisticsGen and Tokenizer; returns seconds and counts of each."""
    import keras_hub  # noqa: F401 - the Tokenizer loads it where it runs
    from tfx.components.statistics_gen.executor import Executor as StatisticsGen
    from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
    from tfx.types import standard_artifacts

    from components.example_gen.component import InstructionExampleGen
    from components.example_gen.driver import resolve_exec_properties
    from components.example_gen.executor import Executor as ExampleGen
    from components.tokenizer.executor import Executor as Tokenizer

    outputs = Path(tempfile.mkdtemp(dir=folder))
    context = BaseBeamExecutor.Context(beam_pipeline_args=args, tmp_dir=str(outputs), unique_id="1")
    examples, tokenized = standard_artifacts.Examples(), standard_artifacts.Examples()
    found = standard_artifacts.ExampleStatistics()
    examples.uri, tokenized.uri, found.uri = (str(outputs / name) for name in ("examples", "tokenized", "statistics"))
    columns = {"instruction": "instruction", "input": "input", "output": "output"}
    data = {"format": "auto", "columns": columns, "slice_columns": [], "splits": SPLITS, "max_bad_fraction": 0.0}
    ingest = resolve_exec_properties(InstructionExampleGen(str(folder / "rows-*.jsonl"), data).exec_properties)
    section = {"template": "alpaca", "system": "", "max_length": 128, "max_truncated_fraction": 1.0}
    text = {"text": json.dumps(section), "preset": str(PRESET)}
    works = {
        "ExampleGen": lambda: ExampleGen(context).Do({}, {"examples": [examples]}, ingest),
        "StatisticsGen": lambda: StatisticsGen(context).Do(
            {"examples": [examples]}, {"statistics": [found]}, {"exclude_splits": "[]"}
        ),
        "Tokenizer": lambda: Tokenizer(context).Do({"examples": [examples]}, {"tokenized_examples": [tokenized]}, text),
    }
    result: dict[str, Any] = {name: _time(work) for name, work in works.items()}
    result["rows"] = tokenized.get_int_custom_property("examples")
    # A compressed file is read by one worker, so that their number limits what comes behind.
    result["train_files"] = len(list((outputs / "examples" / "Split-train").iterdir()))
    return result


def run_functions(folder: Path, args: list[str]) -> dict[str, float]:
    """Applies a light and a heavy function to the TFRecords; returns seconds of each."""
    import apache_beam as beam

    # By value: workers do not import this script.
    def light(record: bytes) -> int:
        return len(record)

    def heavy(record: bytes, hashes: int) -> int:
        import hashlib

        for _ in range(hashes):
            record = hashlib.sha256(record).digest()
        return record[0]

    def run(name: str, function: beam.PTransform) -> None:
        with beam.Pipeline(argv=args) as pipeline:
            _ = (
                pipeline
                | beam.Create(sorted(map(str, folder.glob("records-*"))))
                | beam.Reshuffle()
                | beam.io.ReadAllFromTFRecord()
                | function
                | beam.CombineGlobally(sum)
                | beam.io.WriteToText(str(folder / f"sum-{name}"))
            )

    return {
        "light function": _time(lambda: run("light", beam.Map(light))),
        "heavy function": _time(lambda: run("heavy", beam.Map(heavy, _HASHES))),
    }


def _time(work: Callable[[], Any]) -> float:
    started = time.monotonic()
    work()
    return time.monotonic() - started


def measure(folder: Path, mode: str, workers: int) -> dict[str, Any]:
    """Runs all work in one mode, in this process."""
    section = BeamSection(mode=mode, workers=workers if mode == "multi_processing" else 0)
    args = make_beam_args(section)
    return run_nodes(folder, args) | run_functions(folder, args)


def summarize(rounds: list[dict[str, dict[str, Any]]]) -> dict[str, Any]:
    """Median, least and most seconds of each work in each mode, and the median of each round's ratio."""
    works = [name for name, value in rounds[0]["in_memory"].items() if isinstance(value, float)]
    summary: dict[str, Any] = {}
    for work in works:
        seconds = {mode: [one[mode][work] for one in rounds] for mode in MODES}
        ratios = [one["in_memory"][work] / one["multi_processing"][work] for one in rounds]
        summary[work] = {
            **{
                mode: {"median": round(statistics.median(s), 2), "range": [round(min(s), 2), round(max(s), 2)]}
                for mode, s in seconds.items()
            },
            "times_as_fast": round(statistics.median(ratios), 2),
        }
    return summary


def print_table(summary: dict[str, Any]) -> None:
    """Prints a line for each work."""
    print(f"{'seconds':<16}" + "".join(f"{mode:>28}" for mode in MODES) + f"{'times as fast':>16}")
    for work, found in summary.items():
        cells = [f"{found[m]['median']:.2f} ({found[m]['range'][0]:.2f} to {found[m]['range'][1]:.2f})" for m in MODES]
        print(f"{work:<16}" + "".join(f"{cell:>28}" for cell in cells) + f"{found['times_as_fast']:>16.2f}")


def main() -> None:
    """Measures, writes the report and prints its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--files", type=int, default=4, help="data files, each of which one worker reads")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "beam_modes.json")
    arguments = parser.parse_args()
    # Workers import `components` from wherever the script is started.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    rounds: list[dict[str, dict[str, Any]]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run_in_fresh_process(write_rows, folder, arguments.rows, arguments.files)
        for number in range(arguments.repeats):
            order = MODES if number % 2 == 0 else MODES[::-1]
            found = {mode: run_in_fresh_process(measure, folder, mode, arguments.workers) for mode in order}
            rounds.append(found)
            print(json.dumps(found), file=sys.stderr, flush=True)
            assert {one["rows"] for one in found.values()} == {rounds[0]["in_memory"]["rows"]}, found
    summary = summarize(rounds)
    sizes = {name: getattr(arguments, name) for name in ("rows", "files", "workers", "repeats")}
    write_report({**sizes, "summary": summary, "rounds": rounds}, arguments.output)
    print_table(summary)


if __name__ == "__main__":
    main()
