"""Does `benchmark` measure what lm-evaluation-harness measures? Multiple choice, on the same model and the same tasks.

    python tests/benchmarks/lm_eval_parity.py --data ../shared/data --peer-python /path/to/python

MMLU without examples and with five, and BBQ; 200 tasks each. The model is the project's own small one, as a GPT-2 of transformers
on the other side. That side builds prompts from the raw records by itself, with the harness' own template for MMLU. The peers'
environment has requirements-lm-eval.txt. Fails if a number of right answers differs by more than one.
"""

import argparse
import csv
import gzip
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from harness import write_report
from parity_export import convert_config, convert_weights

from components.trainer.model import load_model

ROOT = Path(__file__).resolve().parents[2]
PRESET = "data/base/tiny_gpt2_en"
TASKS = 200
# Most right answers by which the two sides may differ.
TOLERANCE = 1
SIDES = {"mmlu, 0 shots": ("mmlu", 0), "mmlu, 5 shots": ("mmlu", 5), "bbq": ("bbq", 0)}


def sample_tasks(data: Path, folder: Path) -> None:
    """Writes 200 rows of MMLU's test part, the examples of their subjects, and 200 rows of BBQ, raw."""
    rng = np.random.default_rng(0)
    for part in ("test", "dev", "bbq"):
        (folder / part).mkdir()
    rows = [
        (path.name, row) for path in sorted((data / "mmlu" / "test").glob("*.csv")) for row in list(_read_csv(path))[1:]
    ]
    chosen = [rows[i] for i in sorted(rng.choice(len(rows), TASKS, replace=False))]
    for name in sorted({name for name, _ in chosen}):
        _write_csv(folder / "test" / name, [row for of, row in chosen if of == name])
        dev = name.replace("_test", "_dev")
        shutil.copy(data / "mmlu" / "dev" / dev, folder / "dev" / dev)
    lines = (data / "bbq" / "Religion.jsonl").read_text(encoding="utf-8").splitlines()
    lines += gzip.decompress((data / "bbq" / "Age.jsonl.gz").read_bytes()).decode().splitlines()
    text = "\n".join(lines[i] for i in sorted(rng.choice(len(lines), TASKS, replace=False)))
    (folder / "bbq" / "all.jsonl").write_text(text + "\n", encoding="utf-8")


def export_peer_model(folder: Path) -> None:
    """Writes the model as arrays and configuration of transformers' GPT-2, with its tokenizer's files."""
    folder.mkdir()
    model = load_model(str(ROOT / PRESET))
    np.savez(folder / "weights.npz", **convert_weights(model.backbone))
    config = convert_config(model.backbone) | {"bos_token_id": model.preprocessor.tokenizer.start_token_id}
    (folder / "config.json").write_text(json.dumps(config))
    model.preprocessor.tokenizer.save_assets(str(folder))


def run_own_side(folder: Path, suite: str, shots: int) -> dict[str, Any]:
    """Runs the command as a user would."""
    data, options = (folder / "bbq", []) if suite == "bbq" else (folder / "test", [])
    if shots:
        options = ["--shots", str(shots), "--shots-from", str(folder / "dev")]
    command = [sys.executable, "-m", "pipeline", "benchmark", "--model", PRESET, "--suite", suite, "--json"]
    command += ["--data", str(data), "--root", str(folder / "runs"), *options]
    found = json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)
    values = found["metrics"]["overall"]
    return {"tasks": found["tasks"], "acc": values["choice_accuracy"], "acc_norm": values["choice_accuracy_norm"]}


def _read_csv(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def _write_csv(path: Path, rows: list[list[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)


def main() -> None:
    """Compares, writes the report, and fails if the sides differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with mmlu/ and bbq/")
    parser.add_argument("--peer-python", required=True, help="interpreter with requirements-lm-eval.txt")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "lm_eval_parity.json")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sample_tasks(arguments.data, folder)
        export_peer_model(folder / "model")
        script = str(Path(__file__).with_name("lm_eval_parity_peers.py"))
        subprocess.run([arguments.peer_python, script, str(folder), str(folder / "peers.json")], check=True)
        peers = json.loads((folder / "peers.json").read_text())
        report: dict[str, Any] = {"model": PRESET, "peer_packages": peers.pop("packages"), "suites": {}}
        for side, (suite, shots) in SIDES.items():
            own = run_own_side(folder, suite, shots)
            right = {
                of: [round(values[of] * own["tasks"]) for values in (own, peers[side])] for of in ("acc", "acc_norm")
            }
            report["suites"][side] = {"tasks": own["tasks"], "right_here_and_there": right}
    write_report(report, arguments.output)
    print(json.dumps(report["suites"], indent=1))
    counts = [pair for suite in report["suites"].values() for pair in suite["right_here_and_there"].values()]
    if any(abs(here - there) > TOLERANCE for here, there in counts):
        sys.exit("the sides differ")


if __name__ == "__main__":
    main()
