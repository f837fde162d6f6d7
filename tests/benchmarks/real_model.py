"""What does tuning a real pretrained model take here, beside a plain transformers + PEFT script that does the same work?

The sides, each in a process of its own, taking turns:

- `trainer`: this project's Trainer alone, on examples that are there already: load, evaluate, steps, evaluate, merge, save, export,
  check of the export.
- `pipeline`: the whole run, `python -m pipeline run`, from the records to the verdict, with answers before and after.
- `peer`: real_model_peers.py: load, evaluate, the same steps on the same rows, evaluate, write answers, merge, save.

Tokens, rows, their order, batches and the weight of each target are those that this project's Trainer computes with; the peer is
given them. What counts is the ratio of wall time; CPU seconds and the peak of resident memory (of the largest process of a
side) stand beside it.

    python tests/benchmarks/real_model.py --model FOLDER --data gsm8k/train.jsonl.gz --peer-python /path/to/python

FOLDER is in Hugging Face's layout. The peer's environment is requirements-parity.txt.
"""

import argparse
import contextlib
import gzip
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import psutil
from harness import parse_columns, write_report

from components import runtime

ROOT = Path(__file__).resolve().parents[2]
SIDES = ("trainer", "pipeline", "peer")
_BLESSED_OR_NOT = (0, 3)
# Of the records; the last share is what the pipeline writes its answers for.
SPLITS = {"train": 0.81, "eval": 0.09, "test": 0.1}


def make_config(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Writes the records and returns the run's configuration."""
    opener = gzip.open if arguments.data.suffix == ".gz" else open
    with opener(arguments.data, "rt", encoding="utf-8") as stream:
        lines = [line for line, _ in zip(stream, range(arguments.rows), strict=False)]
    records = folder / "records.jsonl"
    records.write_text("".join(lines), encoding="utf-8")
    return {
        "pipeline": {"name": "real-model"},
        "data": {"path": str(records), "columns": arguments.columns, "splits": SPLITS},
        "text": {"max_length": arguments.max_length},
        "model": {"preset": str(arguments.model), "dtype": arguments.dtype},
        "method": {"name": "lora", "rank": 16, "alpha": 32},
        "train": {
            "batch_size": arguments.batch_size,
            "epochs": -(-arguments.steps * arguments.batch_size // int(0.5 * arguments.rows)),
            "max_steps": arguments.steps,
            "learning_rate": 1e-3,
            "schedule": "constant",
            "warmup_fraction": 0.0,
            "eval_every_steps": max(arguments.steps, 1),
            "checkpoint_every_steps": max(arguments.steps, 1),
        },
        "generation": {"max_new_tokens": arguments.new_tokens},
        "evaluation": {
            "metrics": ["perplexity", "example_count"],
            "thresholds": [{"metric": "perplexity", "lower_bound": 0}],
        },
    }


def measure(
    command: list[str], environment: dict[str, str], log: Path, accepted: tuple[int, ...] = (0,)
) -> dict[str, Any]:
    """Runs a command; returns its wall and CPU seconds and the peak of resident memory of its largest process.

    CPU seconds and memory are read once a second from all processes of its session, whoever their parent is.
    """
    started = time.monotonic()
    seconds: dict[int, float] = {}
    peak = 0
    with log.open("w") as stream:
        process = subprocess.Popen(
            command,
            env=os.environ | environment,
            cwd=ROOT,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        while process.poll() is None:
            for one, (cpu, most) in _read_session(process.pid).items():
                seconds[one], peak = cpu, max(peak, most)
            time.sleep(1)
    if process.returncode not in accepted:
        sys.exit(f"{command} ended with {process.returncode}:\n{log.read_text()[-6000:]}")
    return {
        "wall": round(time.monotonic() - started, 2),
        "cpu": round(sum(seconds.values()), 2),
        "peak_rss_gib": round(peak / 2**30, 3),
    }


def _read_session(session: int) -> dict[int, tuple[float, int]]:
    """By process: CPU seconds so far, and the most bytes that it has held."""
    found = {}
    for process in psutil.process_iter():
        with contextlib.suppress(OSError, psutil.Error, StopIteration):
            if os.getsid(process.pid) == session:
                times = process.cpu_times()
                lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
                most = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
                found[process.pid] = times.user + times.system, most * 1024
    return found


def run_pipeline(config: Path, root: Path, log: Path) -> dict[str, Any]:
    """The command that users type, in a new root."""
    result = measure(
        [sys.executable, "-m", "pipeline", "run", str(config), "--root", str(root)], {}, log, _BLESSED_OR_NOT
    )
    (record,) = root.rglob("training_record.json")
    return result | {"record": read_record(record)}


def run_trainer(config: Path, examples: Path, folder: Path, log: Path) -> dict[str, Any]:
    """The Trainer's own function, on examples that the first run of the pipeline has written."""
    request = {"config": str(config), "examples": str(examples), "folder": str(folder)}
    result = measure([sys.executable, __file__, "--trainer", json.dumps(request)], runtime.DEFAULTS, log)
    record = read_record(folder / "model" / "training_record.json")
    return result | {"record": record, "phases": read_phases(log, record["seconds"])}


def read_phases(log: Path, steps: float) -> dict[str, float]:
    """Where the seconds went, by the training's own log; the steps, which are part of the training, apart."""
    phases: dict[str, float] = {}
    before: dict[str, float] = {}
    for what, seconds in re.findall(r"Time: (.+) took ([\d.]+) s\.", log.read_text()):
        if what == "the rehearsal":  # it did once what follows the last step
            phases = dict(before)
        phases[what] = float(seconds)
        if what.startswith("tracing"):
            before = dict(phases)
    return phases | {"of which steps": round(steps, 1)}


def read_record(path: Path) -> dict[str, Any]:
    """What a training says of itself."""
    record = json.loads(path.read_text())
    names = (
        "seconds",
        "steps",
        "eval_loss_before",
        "eval_loss_after",
        "jit_compile",
        "micro_batch_tokens",
        "tokens_seen",
    )
    return {name: record.get(name) for name in names}


def train(request: dict[str, Any]) -> None:
    """Runs the Trainer in this process."""
    from types import SimpleNamespace

    from absl import logging

    from components.trainer.module import run_fn

    logging.set_verbosity(logging.INFO)
    run_fn(SimpleNamespace(**list_trainer_arguments(request)))


def list_trainer_arguments(request: dict[str, Any]) -> dict[str, Any]:
    """What TFX gives to the Trainer's function."""
    from configs.load import read_yaml
    from configs.schema import RunConfig

    config, folder = RunConfig.model_validate(read_yaml(request["config"])), Path(request["folder"])
    examples = Path(request["examples"])
    sections = {
        name: getattr(config, name).model_dump(mode="json")
        for name in ("model", "method", "train", "text", "generation")
    }
    custom = sections | {
        "export": True,
        "preset_hash": "",
        "code_hash": "",
        "checkpoint_root": str(folder / "checkpoints"),
    }
    return {
        "train_files": [f"{examples}/Split-train/*"],
        "eval_files": [f"{examples}/Split-eval/*"],
        "serving_model_dir": str(folder / "model" / "Format-Serving"),
        "model_run_dir": str(folder / "model_run"),
        "base_model": None,
        "custom_config": custom,
    }


def write_rows(request: dict[str, Any]) -> None:
    """Writes what the Trainer computes with, for the peer: rows of each step and of the evaluation, and prompts."""
    import numpy as np

    from components.trainer.model import load_model
    from components.trainer.training import make_datasets, plan_shapes

    arguments = list_trainer_arguments(request)
    config = arguments["custom_config"]
    model = load_model(config["model"]["preset"], "float32", 0)
    splits = make_datasets(
        arguments["train_files"], arguments["eval_files"], model, config["train"], config["text"]["max_length"]
    )
    _, train_data, eval_data = plan_shapes(model, config["train"], *splits)

    def list_rows(step: Any) -> list[dict[str, list[Any]]]:
        length, rows = step.token_ids.shape[-1], []
        ids, mask = (array.reshape(-1, length) for array in (step.token_ids, step.padding_mask))
        numbers = step._find_row_of_positions()
        for row in step.list_rows():
            count, mine = int(mask[row].sum()), (numbers == row) & (step.sample_weight > 0)
            targets = dict(zip((step.positions[mine] % length).tolist(), step.targets[mine].tolist(), strict=True))
            token_ids = [*ids[row, :count].tolist(), targets[count - 1]]
            rows.append({"token_ids": token_ids, "labels": [-100] + [targets.get(i, -100) for i in range(count)]})
        return rows

    steps = [list_rows(step) for step in train_data.iterate(0, config["train"]["max_steps"])]
    evaluation = [list_rows(step) for step in eval_data.iterate()]
    prompts = [
        row["token_ids"][: int(np.argmax(np.asarray(row["labels"]) >= 0))]
        for step in [*evaluation, *steps]
        for row in step
    ]
    content = {"train": steps, "eval": evaluation, "prompts": prompts[: request["answers"]]}
    Path(request["output"]).write_text(json.dumps(content))


def summarize(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians and ranges by side, and medians against the peer's."""
    summary: dict[str, Any] = {}
    for side in dict.fromkeys(run["side"] for run in runs):
        mine = [run for run in runs if run["side"] == side]
        summary[side] = {
            name: {
                "median": statistics.median(run[name] for run in mine),
                "range": [f(run[name] for run in mine) for f in (min, max)],
            }
            for name in ("wall", "cpu", "peak_rss_gib")
        }
    for side in set(summary) - {"peer"} if "peer" in summary else ():
        for name in ("wall", "cpu", "peak_rss_gib"):
            summary[side][name]["against_peer"] = round(
                summary[side][name]["median"] / summary["peer"][name]["median"], 3
            )
    return summary


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trainer", help=argparse.SUPPRESS)
    parser.add_argument("--write-rows", help=argparse.SUPPRESS)
    parser.add_argument("--model", type=Path, help="a pretrained model in Hugging Face's layout")
    parser.add_argument("--data", type=Path, help="JSON Lines (also .gz)")
    parser.add_argument("--columns", type=parse_columns, default="instruction=question,output=answer")
    parser.add_argument("--peer-python", default="", help="interpreter with torch, transformers and peft")
    parser.add_argument("--sides", nargs="+", default=list(SIDES), choices=SIDES)
    parser.add_argument(
        "--dtype", default="float32", help="`model.dtype`; the peer takes autocast where it says bfloat16"
    )
    parser.add_argument("--rows", type=int, default=410, help="records that are used")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--max-length", type=int, default=384)
    parser.add_argument("--answers", type=int, default=40)
    parser.add_argument("--new-tokens", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="2 steps, 60 rows, 4 answers, one round: does it work?")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "real_model.json")
    arguments = parser.parse_args()
    if not (arguments.trainer or arguments.write_rows or (arguments.model and arguments.data)):
        parser.error("--model and --data are needed")
    if arguments.quick:
        arguments.steps, arguments.rows, arguments.answers, arguments.repeats = 2, 60, 4, 1
    return arguments


def main() -> None:
    """Measures and writes the report."""
    arguments = parse_arguments()
    if arguments.trainer:
        train(json.loads(arguments.trainer))
        return
    if arguments.write_rows:
        write_rows(json.loads(arguments.write_rows))
        return
    runs: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = folder / "run.yaml"
        config.write_text(json.dumps(make_config(arguments, folder.resolve())))  # JSON is YAML
        # The first run of the pipeline writes the examples that the others need; it counts as the first round's.
        first = run_pipeline(config, folder / "root-0", folder / "pipeline-0.log") | {"side": "pipeline", "round": 0}
        (examples,) = folder.glob("root-0/**/Transform/transformed_examples/*")
        rows = folder / "rows.json"
        request = {"config": str(config), "examples": str(examples), "folder": name, "output": str(rows)}
        command = [sys.executable, __file__, "--write-rows", json.dumps(request | {"answers": arguments.answers})]
        measure(command, runtime.DEFAULTS, folder / "rows.log")
        for number in range(arguments.repeats):
            for side in arguments.sides if number % 2 == 0 else reversed(arguments.sides):
                log = folder / f"{side}-{number}.log"
                if side == "pipeline":
                    root = folder / f"root-{number}"
                    result = first if number == 0 else run_pipeline(config, root, log)
                elif side == "trainer":
                    result = run_trainer(config, examples, folder / f"trainer-{number}", log)
                elif arguments.peer_python:
                    output = folder / f"peer-{number}"
                    settings = {"model": str(arguments.model.resolve()), "rows": str(rows), "output": str(output)}
                    settings |= {"dtype": arguments.dtype, "new_tokens": arguments.new_tokens}
                    script = str(Path(__file__).with_name("real_model_peers.py"))
                    result = measure(
                        [arguments.peer_python, script, json.dumps(settings)], {"HF_HUB_OFFLINE": "1"}, log
                    )
                    result |= json.loads((output / "result.json").read_text())
                else:
                    continue
                runs.append(result | {"side": side, "round": number})
                print(json.dumps(runs[-1]), file=sys.stderr, flush=True)
    names = ("dtype", "rows", "steps", "batch_size", "max_length", "answers", "new_tokens", "repeats")
    settings = {name: getattr(arguments, name) for name in names}
    write_report({"settings": settings, "summary": summarize(runs), "runs": runs}, arguments.output)
    print(json.dumps(summarize(runs), indent=1))


if __name__ == "__main__":
    main()
