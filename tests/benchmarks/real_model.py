"""What does tuning a real pretrained model take here, beside a plain transformers + PEFT script that does the same work?

The sides, each in a process of its own, taking turns:

- `trainer`: this project's Trainer alone, on examples that are there already: load, evaluate, steps, evaluate, merge, save, export,
  check of the export.
- `pipeline`: the whole run, `python -m pipeline run`, from the records to the verdict, with answers before and after.
- `peer`: real_model_peers.py: load, evaluate, the same steps on the same rows, evaluate, write answers, merge, save.

Tokens, rows, their order, batches and the weight of each target are those that this project's Trainer computes with; the peer is
given them, and takes autocast where the data type says bfloat16. What counts is the ratio of wall time; CPU seconds and the peak of
resident memory (of the largest process of a side) stand beside it.

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
_TITLES = {"trainer": "the Trainer alone", "pipeline": "the whole pipeline", "peer": "transformers and PEFT"}
_BLESSED_OR_NOT = (0, 3)
# Of the records; the last share is what the pipeline writes its answers for.
SPLITS = {"train": 0.81, "eval": 0.09, "test": 0.1}


def make_config(arguments: argparse.Namespace, folder: Path, dtype: str) -> dict[str, Any]:
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
        "model": {"preset": str(arguments.model), "dtype": dtype},
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


class Bench:
    """The sides, by `run_` and their names."""

    def __init__(self, arguments: argparse.Namespace, folder: Path):
        """Runs the pipeline up to the examples that the sides share, and writes the rows of the peer."""
        self._arguments, self._folder = arguments, folder
        self._configs = {}
        for dtype in dict.fromkeys(turn.split("/")[1] for turn in arguments.turns):
            self._configs[dtype] = folder / f"{dtype}.yaml"  # JSON is YAML
            self._configs[dtype].write_text(json.dumps(make_config(arguments, folder, dtype)))
        config = next(iter(self._configs.values()))
        command = [sys.executable, "-m", "pipeline", "run", str(config), "--root", str(folder / "examples")]
        measure([*command, "--to", "Transform"], {}, folder / "examples.log")
        (self._examples,) = folder.glob("examples/**/Transform/transformed_examples/*")
        self._rows = folder / "rows.json"
        request = self._make_request(config, folder) | {"output": str(self._rows), "answers": arguments.answers}
        command = [sys.executable, __file__, "--write-rows", json.dumps(request)]
        measure(command, runtime.DEFAULTS, folder / "rows.log")

    def run_pipeline(self, dtype: str, number: int) -> dict[str, Any]:
        """The command that users type, in a new root."""
        root = self._folder / f"root-{dtype}-{number}"
        command = [sys.executable, "-m", "pipeline", "run", str(self._configs[dtype]), "--root", str(root)]
        result = measure(command, {}, self._folder / f"pipeline-{dtype}-{number}.log", _BLESSED_OR_NOT)
        (record,) = root.rglob("training_record.json")
        return result | {"record": read_record(record)}

    def run_trainer(self, dtype: str, number: int) -> dict[str, Any]:
        """The Trainer's own function."""
        folder = self._folder / f"trainer-{dtype}-{number}"
        log = folder.with_suffix(".log")
        command = [sys.executable, __file__, "--trainer", json.dumps(self._make_request(self._configs[dtype], folder))]
        result = measure(command, runtime.DEFAULTS, log)
        record = read_record(folder / "model" / "training_record.json")
        losses = read_losses(folder / "model_run")
        return result | {"record": record, "phases": read_phases(log, record["seconds"]), "losses": losses}

    def run_peer(self, dtype: str, number: int) -> dict[str, Any]:
        """The other libraries' script."""
        output = self._folder / f"peer-{dtype}-{number}"
        settings = {"model": str(self._arguments.model.resolve()), "rows": str(self._rows), "output": str(output)}
        settings |= {"dtype": dtype, "new_tokens": self._arguments.new_tokens}
        script = str(Path(__file__).with_name("real_model_peers.py"))
        command = [self._arguments.peer_python, script, json.dumps(settings)]
        result = measure(command, {"HF_HUB_OFFLINE": "1"}, output.with_suffix(".log"))
        return result | json.loads((output / "result.json").read_text())

    def _make_request(self, config: Path, folder: Path) -> dict[str, Any]:
        return {"config": str(config), "examples": str(self._examples), "folder": str(folder)}


def read_losses(folder: Path) -> list[float]:
    """The loss of each step, from the training's TensorBoard events."""
    import tensorflow as tf

    (path,) = folder.glob("events.*")
    values = (value for event in tf.compat.v1.train.summary_iterator(str(path)) for value in event.summary.value)
    return [round(float(tf.make_ndarray(value.tensor)), 5) for value in values if value.tag == "loss"]


def read_phases(log: Path, steps: float) -> dict[str, float]:
    """Where the seconds went, by the training's own log; the steps, which are part of the training, apart."""
    phases: dict[str, float] = {}
    before: dict[str, float] = {}
    for what, seconds in re.findall(r"Time: (.+) took ([\d.]+) s;", log.read_text()):
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
    """Medians and ranges by side and data type, and medians against those of the peer in the same data type."""
    names = ("wall", "cpu", "peak_rss_gib")
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for run in runs:
        groups.setdefault((run["side"], run["dtype"]), []).append(run)
    medians = {key: {n: statistics.median(run[n] for run in mine) for n in names} for key, mine in groups.items()}
    summary: dict[str, Any] = {}
    for (side, dtype), mine in groups.items():
        entry: dict[str, Any] = {}
        for name in names:
            values = [run[name] for run in mine]
            entry[name] = {"median": medians[side, dtype][name], "range": [min(values), max(values)]}
            for label, key in (("against_peer", ("peer", dtype)), ("against_float32_peer", ("peer", "float32"))):
                if side != "peer" and key in medians:
                    entry[name][label] = round(medians[side, dtype][name] / medians[key][name], 3)
        summary.setdefault(side, {})[dtype] = entry
    return summary


def make_table(summary: dict[str, Any]) -> str:
    """Returns a summary as a table of Markdown: medians with their ranges, and ratios."""
    lines = [
        "| side | data type | wall time, s | of PEFT's in the same type | of PEFT's in float32 | CPU time, s | peak of memory, GiB |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for side in SIDES:
        for dtype, entry in summary.get(side, {}).items():
            wall = entry["wall"]
            ratios = [f"{wall[name]:.2f}" if name in wall else "" for name in ("against_peer", "against_float32_peer")]
            seconds = f"{wall['median']:.0f} ({wall['range'][0]:.0f} to {wall['range'][1]:.0f})"
            others = (f"{entry['cpu']['median']:.0f}", f"{entry['peak_rss_gib']['median']:.2f}")
            lines.append(f"| {' | '.join((_TITLES[side], f'`{dtype}`', seconds, *ratios, *others))} |")
    return "\n".join(lines)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trainer", help=argparse.SUPPRESS)
    parser.add_argument("--write-rows", help=argparse.SUPPRESS)
    parser.add_argument("--table", action="store_true", help="print the table of the results that are there")
    parser.add_argument("--model", type=Path, help="a pretrained model in Hugging Face's layout")
    parser.add_argument("--data", type=Path, help="JSON Lines (also .gz)")
    parser.add_argument("--columns", type=parse_columns, default="instruction=question,output=answer")
    parser.add_argument("--peer-python", default="", help="interpreter with torch, transformers and peft")
    parser.add_argument(
        "--turns",
        nargs="+",
        default=[f"{side}/float32" for side in SIDES],
        choices=[f"{side}/{dtype}" for dtype in ("float32", "mixed_bfloat16", "bfloat16") for side in SIDES],
        metavar="SIDE/DTYPE",
        help="what runs in a round, with which `model.dtype`; default: all sides in float32",
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
    if arguments.table:
        return arguments
    if "peer" in " ".join(arguments.turns) and not (arguments.peer_python or arguments.trainer or arguments.write_rows):
        parser.error("the peer needs --peer-python; without it, name the --turns of the other sides")
    if not (arguments.trainer or arguments.write_rows or (arguments.model and arguments.data)):
        parser.error("--model and --data are needed")
    if arguments.quick:
        arguments.steps, arguments.rows, arguments.answers, arguments.repeats = 2, 60, 4, 1
    return arguments


def main() -> None:
    """Measures and writes the report."""
    arguments = parse_arguments()
    if arguments.table:
        print(make_table(json.loads(arguments.output.read_text(encoding="utf-8"))["summary"]))
        return
    if arguments.trainer:
        train(json.loads(arguments.trainer))
        return
    if arguments.write_rows:
        write_rows(json.loads(arguments.write_rows))
        return
    names = ("turns", "rows", "steps", "batch_size", "max_length", "answers", "new_tokens", "repeats")
    settings = {name: getattr(arguments, name) for name in names}
    runs: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(arguments, Path(name).resolve())
        turns = [turn.split("/") for turn in arguments.turns]
        for number in range(arguments.repeats):
            for side, dtype in turns if number % 2 == 0 else reversed(turns):
                result = getattr(bench, f"run_{side}")(dtype, number)
                runs.append(result | {"side": side, "dtype": dtype, "round": number})
                print(json.dumps(runs[-1]), file=sys.stderr, flush=True)
                write_report({"settings": settings, "summary": summarize(runs), "runs": runs}, arguments.output)
    print(json.dumps(summarize(runs), indent=1))


if __name__ == "__main__":
    main()
