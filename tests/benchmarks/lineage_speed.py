"""How long do questions to the metadata store take, and how does that grow with it? Each is a process of its own, started cold.

python tests/benchmarks/lineage_speed.py --sizes 100 500 2000 --repeats 5
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from harness import write_report
from lineage_store import get_commit, write_store

ROOT = Path(__file__).resolve().parents[2]


def list_questions(ids: list[str]) -> dict[str, list[str]]:
    """Returns the arguments of `lineage` for each question, about runs in the middle and at the end of the store."""
    middle = ids[len(ids) // 2]
    return {
        "runs": ["runs"],
        "runs --blessed": ["runs", "--blessed"],
        "runs --where method=lora": ["runs", "--where", "method=lora"],
        "runs --where train.learning_rate<2e-5": ["runs", "--where", "train.learning_rate<2e-5"],
        "runs --all": ["runs", "--all"],
        "show (pushed last)": ["show"],
        "show RUN": ["show", middle],
        "show HASH": ["show", "555555"],
        "impact DATA": ["impact", "data/legal-lora/rows-0003.jsonl"],
        "impact PRESET": ["impact", "data/base/tiny_gpt2_en"],
        "impact COMMIT": ["impact", get_commit(len(ids) // 2)],
        "diff RUN RUN": ["diff", middle, ids[-1]],
    }


def measure(root: Path, arguments: list[str]) -> float:
    """Returns the wall time of one question in seconds, the start of Python included."""
    command = [sys.executable, "-m", "pipeline", "lineage", *arguments, "--root", str(root)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    started = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - started
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    return seconds


def main() -> None:
    """Measures, writes the report and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 500, 2000], help="Runs in the store.")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "lineage_speed.json")
    arguments = parser.parse_args()
    results: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        roots = {}
        for size in arguments.sizes:
            roots[size] = Path(folder) / str(size)
            roots[size].mkdir()
            ids = write_store(roots[size] / "metadata.sqlite", size)
            results[str(size)] = {"megabytes": round((roots[size] / "metadata.sqlite").stat().st_size / 1e6, 1)}
            for name, words in list_questions(ids).items():
                results[str(size)][name] = {"arguments": words, "seconds": []}
        # In turn, so that a slow minute of the machine meets all of them.
        for _ in range(arguments.repeats):
            for size in arguments.sizes:
                for found in results[str(size)].values():
                    if isinstance(found, dict):
                        found["seconds"].append(round(measure(roots[size], found["arguments"]), 3))
                print(json.dumps({"runs": size}), file=sys.stderr, flush=True)
    for one in results.values():
        for found in one.values():
            if isinstance(found, dict):
                found["median"] = statistics.median(found["seconds"])
                found["slowest"] = max(found["seconds"])
    write_report({"repeats": arguments.repeats, "by_runs": results}, arguments.output)
    print(f"{'seconds (median, slowest)':<40}" + "".join(f"{size:>9} runs  " for size in arguments.sizes))
    for name in list_questions([""]):
        cells = [results[str(size)][name] for size in arguments.sizes]
        print(f"{name:<40}" + "".join(f"{c['median']:>7.2f} {c['slowest']:>6.2f}  " for c in cells))


if __name__ == "__main__":
    main()
