"""What does the pipeline take around the training: wall time of `run` minus that of training steps, cold and cached?

Each round is three runs in a new root: everything for the first time (cold), the same again (cached), and with another learning
rate (tuned again, on cached data). Every run is the command that users type, in a process of its own.

    python tests/benchmarks/pipeline_overhead.py [CONFIG] [--set SECTION.KEY=VALUE ...]
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from harness import write_report

ROOT = Path(__file__).resolve().parents[2]
DEFAULT_CONFIG = "configs/runs/tiny_gpt2_en_lora.yaml"
# A line of the run's output: mark, node, seconds.
_NODE = re.compile(r"^[✓=·] (\S+) +([\d.]+) s", re.MULTILINE)
_BLESSED_OR_NOT = (0, 3)


def run(config: str, root: Path, overrides: list[str]) -> dict[str, Any]:
    """Runs the pipeline once; returns wall time and that of each node, and of training steps if it trained."""
    before = set(root.rglob("training_record.json"))
    command = [sys.executable, "-m", "pipeline", "run", config, "--root", str(root)]
    for override in overrides:
        command += ["--set", override]
    started = time.monotonic()
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    wall = time.monotonic() - started
    if process.returncode not in _BLESSED_OR_NOT:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}:\n{process.stdout}\n{process.stderr}")
    nodes = {name: float(seconds) for name, seconds in _NODE.findall(process.stdout)}
    if "Trainer" not in nodes:
        sys.exit(f"the output must have a line for each node. Received:\n{process.stdout}")
    records = [json.loads(path.read_text()) for path in set(root.rglob("training_record.json")) - before]
    training = sum(record["seconds"] for record in records)
    return {"wall": wall, "training_steps": training, "overhead": wall - training, "nodes": nodes}


def summarize(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Median, least and most seconds of each kind of run."""
    summary: dict[str, Any] = {}
    for kind in rounds[0]:
        runs = [one[kind] for one in rounds]
        summary[kind] = {
            name: {
                "median": round(statistics.median(one[name] for one in runs), 1),
                "range": [round(f(one[name] for one in runs), 1) for f in (min, max)],
            }
            for name in ("wall", "training_steps", "overhead")
        }
        nodes = runs[0]["nodes"]
        summary[kind]["nodes"] = {n: round(statistics.median(one["nodes"][n] for one in runs), 1) for n in nodes}
    return summary


def main() -> None:
    """Measures and writes the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", nargs="?", default=DEFAULT_CONFIG)
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "pipeline_overhead.json")
    arguments = parser.parse_args()
    rounds = []
    for _ in range(arguments.repeats):
        with tempfile.TemporaryDirectory() as folder:
            kinds = {"cold": [], "cached": [], "tuned again": ["train.learning_rate=1e-3"]}
            rounds.append(
                {kind: run(arguments.config, Path(folder), arguments.overrides + more) for kind, more in kinds.items()}
            )
        print(json.dumps({kind: one["overhead"] for kind, one in rounds[-1].items()}), file=sys.stderr, flush=True)
    write_report({"summary": summarize(rounds), "rounds": rounds}, arguments.output)


if __name__ == "__main__":
    main()
