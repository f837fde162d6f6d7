"""What comes out when a real pretrained model is tuned on real data: the gate's verdict, forgetting, wall time and memory.

Each experiment is one `python -m pipeline run` of configs/runs/smollm2_135m_lora.yaml with settings of its own, which are printed.
The runs of one experiment and those of its group share a root, so that the untouched model is asked once. Experiments of which
the report has a result already are left out: an interrupted campaign goes on.

    python tests/benchmarks/real_results.py --model FOLDER --data FOLDER [EXPERIMENT ...]
    python tests/benchmarks/real_results.py --table

--model is SmolLM2-135M-Instruct in Hugging Face's layout; --data a folder with gsm8k/train.jsonl.gz, clinc150/clinc150.jsonl.gz,
dolly-15k/dolly.jsonl.gz and c4-sample/c4_demo.jsonl.
"""

import argparse
import gzip
import itertools
import json
import re
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from harness import write_report
from real_model import measure

from pipeline.cli_options import load_runner_file
from pipeline.lineage.graph import get_properties
from pipeline.lineage.store import open_store
from pipeline.metadata_connection import make_connection_config

ROOT = Path(__file__).resolve().parents[2]
RUN = "configs/runs/smollm2_135m_lora.yaml"
_BLESSED_OR_NOT = (0, 3)
# Of dolly, so many records that are no longer as a whole, so that none is cut; all of them would take hours of two cores.
_DOLLY_RECORDS, _DOLLY_CHARACTERS = 1200, 700
GSM8K = {
    "data": {
        "path": "gsm8k/train.jsonl.gz",
        "columns": {"instruction": "question", "output": "answer"},
        "splits": {"train": 0.96, "eval": 0.01, "test": 0.03},
    },
    "text": {"max_length": 384},
    "train": {"batch_size": 8, "max_steps": 300},
    "generation": {"max_new_tokens": 160},
    "evaluation": {
        "metrics": ["perplexity", "number_match", "example_count"],
        "thresholds": [
            {"metric": "perplexity", "min_improvement": 0.0, "against": "preset"},
            {"metric": "number_match", "min_improvement": 0.0, "against": "preset", "require": "not_worse"},
        ],
    },
}
CLINC150 = {
    "data": {
        "path": "clinc150/clinc150.jsonl.gz",
        "columns": {"instruction": "text", "output": "label"},
        "splits": {"train": 0.95, "eval": 0.01, "test": 0.04},
    },
    "text": {"max_length": 96, "system": "Name the intent of what the user says."},
    "train": {"batch_size": 16, "max_steps": 300},
    "generation": {"max_new_tokens": 12},
    "evaluation": {
        "metrics": ["perplexity", "classification", "example_count"],
        "thresholds": [
            {"metric": "perplexity", "min_improvement": 0.0, "against": "preset"},
            {"metric": "accuracy", "lower_bound": 0.5},
        ],
    },
}
DOLLY = {
    "data": {
        "path": "dolly.jsonl",
        "columns": {"instruction": "instruction", "input": "context", "output": "response"},
        "splits": {"train": 0.75, "eval": 0.05, "test": 0.2},
    },
    "text": {"max_length": 256},
    "train": {"batch_size": 8, "max_steps": 110},
    "generation": {"max_new_tokens": 1},
    "evaluation": {
        "metrics": ["perplexity", "token_accuracy", "example_count"],
        "thresholds": [{"metric": "perplexity", "min_improvement": 0.0, "against": "preset"}],
    },
}
_LAST_NUMBER = ["perplexity", {"name": "number_match", "last_number": True}, "example_count"]
EXPERIMENTS: dict[str, list[dict[str, Any]]] = {
    "gsm8k-lora": [GSM8K],
    # The same model, judged by the last number of an answer: the untouched one does not write GSM8K's `####`.
    "gsm8k-lora-last-number": [GSM8K, {"evaluation": GSM8K["evaluation"] | {"metrics": _LAST_NUMBER}}],
    "clinc150-lora": [CLINC150],
    # The same model before a gate that lets perplexity on general text rise by a twentieth.
    "clinc150-lora-guarded": [CLINC150, {"evaluation": {"general": {"max_perplexity_increase": 0.05}}}],
    "clinc150-full": [CLINC150, {"method": {"name": "full"}, "train": {"learning_rate": 5e-5}}],
}
for _seed, _strategy in itertools.product((0, 1), ("none", "random", "fixed")):
    _cleaning = {"strategy": _strategy, "seed": _seed, "reference": {"method": {"name": "lora", "rank": 16}}}
    EXPERIMENTS[f"dolly-{_strategy}-{_seed}"] = [DOLLY, {"token_cleaning": _cleaning, "train": {"seed": _seed}}]


def make_options(name: str, model: Path, data: Path, work: Path) -> list[str]:
    """The `--set` options of an experiment."""
    general = {"path": str(data / "c4-sample" / "c4_demo.jsonl"), "columns": {"text": "text"}}
    common = {
        "pipeline": {"name": name.partition("-")[0]},
        "data": {"schema_path": None, "slice_columns": []},
        "model": {"preset": str(model), "dtype": "auto"},
        "evaluation": {"slice_columns": [], "general": general},
        "export": {"formats": []},
    }
    settings: dict[str, dict[str, Any]] = {}
    for part in [common, *EXPERIMENTS[name]]:
        for section, values in part.items():
            settings.setdefault(section, {}).update(values)
    settings["evaluation"]["general"] = general | settings["evaluation"]["general"]
    path = settings["data"]["path"]
    settings["data"]["path"] = str((work if path == "dolly.jsonl" else data) / path)
    values = {f"{section}.{key}": value for section, keys in settings.items() for key, value in keys.items()}
    if "method" in settings:  # whole: the options of one method are not those of another
        values = {key: value for key, value in values.items() if not key.startswith("method.")}
        values["method"] = settings["method"]
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in values.items()}
    return [word for key, text in texts.items() for word in ("--set", f"{key}={text}")]


def write_dolly(data: Path, work: Path) -> None:
    """Writes the first records of dolly that are short."""
    with gzip.open(data / "dolly-15k" / "dolly.jsonl.gz", "rt", encoding="utf-8") as stream:
        short = (line for line in stream if _count_characters(json.loads(line)) <= _DOLLY_CHARACTERS)
        lines = list(itertools.islice(short, _DOLLY_RECORDS))
    (work / "dolly.jsonl").write_text("".join(lines), encoding="utf-8")


def _count_characters(record: Mapping[str, str]) -> int:
    return sum(len(record[key]) for key in ("instruction", "context", "response"))


def read_result(root: Path, log: Path) -> dict[str, Any]:
    """What the run's store and its training say."""
    (run_id,) = re.findall(r"run (\d{8}-\d{6}-\d{6})", log.read_text())[:1]
    return {"run": run_id} | _read_store(root, run_id)


def _read_store(root: Path, run_id: str) -> dict[str, Any]:
    store = open_store(make_connection_config(load_runner_file("local", str(root))))
    context = store.get_context_by_type_and_name("pipeline_run", run_id)
    found: dict[str, Any] = {"cleaning": [], "trainings": []}
    # A baseline, which an earlier run has trained, comes before the run's own model.
    for artifact in sorted(store.get_artifacts_by_context(context.id), key=lambda artifact: artifact.id):
        plain = get_properties(artifact)
        if artifact.type == "ModelEvaluation":
            found |= {name: _drop_labels(json.loads(plain[name])) for name in ("metrics", "intervals", "changes")}
        elif artifact.type == "ModelBlessing":
            found |= {"blessed": bool(plain["blessed"]), "reason": plain["reason"]}
        elif artifact.type == "pipeline.TokenCleaningReport":
            found["cleaning"].append({name: plain[name] for name in ("strategy", "kept_share", "num_kept_tokens")})
        elif artifact.type == "Model":
            for record in Path(artifact.uri).rglob("training_record.json"):  # the preset has none
                content = json.loads(record.read_text())
                names = ("steps", "seconds", "dtype", "eval_loss_before", "eval_loss_after", "target_tokens_seen")
                node = {"node": Path(artifact.uri).parts[-3]}
                found["trainings"].append(node | {name: content.get(name) for name in names})
    return found


# What is shown of each experiment besides perplexity.
_TASK_METRICS = ("number_match", "accuracy", "token_accuracy")


def make_tables(results: Mapping[str, Any]) -> str:
    """Returns what docs/real_models.md shows, in Markdown: what was measured of each experiment, and what it took."""
    lines = [
        "| experiment | perplexity | task | general text, perplexity | verdict |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, result in results.items():
        task = next((m for m in _TASK_METRICS if m in result["metrics"]["candidate"]["overall"]), "")
        cells = [
            _show_change(result, "overall", "perplexity"),
            f"{task}: {_show_change(result, 'overall', task)}" if task else "",
            _show_change(result, "general", "perplexity"),
            "blessed" if result["blessed"] else "not blessed",
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += [
        "",
        "| experiment | steps | loss on the eval split | targets kept | Trainer | whole run | memory |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, result in results.items():
        training = [t for t in result["trainings"] if t["node"] == "Trainer"][-1]
        if result["wall"] < training["seconds"]:
            continue  # its model was there already, by the experiment before
        kept = ", ".join(f"{report['kept_share']:.0%}" for report in result["cleaning"]) or "all"
        cells = [
            str(training["steps"]),
            f"{training['eval_loss_before']:.3f} → {training['eval_loss_after']:.3f}",
            kept,
            f"{training['seconds'] / 60:.0f} min",
            f"{result['wall'] / 60:.0f} min",
            f"{result['peak_rss_gib']:.1f} GiB",
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _show_change(result: Mapping[str, Any], part: str, metric: str) -> str:
    before, after = (result["metrics"][model][part][metric] for model in ("preset", "candidate"))
    change, low, high = result["changes"]["preset"][part][metric]
    return f"{before:.4g} → {after:.4g} ({change:+.3g}, {low:+.3g} to {high:+.3g})"


def _drop_labels(values: Any) -> Any:
    """Without what is measured of each label of a classification: clinc150 has 151."""
    if not isinstance(values, dict):
        return values
    return {name: _drop_labels(value) for name, value in values.items() if "[" not in name}


def main() -> None:
    """Runs what is asked for and writes the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiments", nargs="*", metavar="EXPERIMENT", help=f"one of {', '.join(EXPERIMENTS)}")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "real_results")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "real_results.json")
    parser.add_argument("--print", action="store_true", help="print the commands, run nothing")
    parser.add_argument("--table", action="store_true", help="print what --output holds in Markdown, run nothing")
    arguments = parser.parse_args()
    if arguments.table:
        print(make_tables(json.loads(arguments.output.read_text())["results"]))
        return
    if not (arguments.model and arguments.data):
        parser.error("--model and --data are needed")
    if unknown := set(arguments.experiments) - set(EXPERIMENTS):
        parser.error(f"experiments must be among {', '.join(EXPERIMENTS)}. Received: {', '.join(sorted(unknown))}")
    work = arguments.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    write_dolly(arguments.data, work)
    results = json.loads(arguments.output.read_text())["results"] if arguments.output.exists() else {}
    for name in arguments.experiments or EXPERIMENTS:
        options = make_options(name, arguments.model.resolve(), arguments.data.resolve(), work)
        root = work / name.partition("-")[0]
        command = ["-m", "pipeline", "run", RUN, "--root", str(root), *options]
        print(shlex.join(["python", *command]), flush=True)
        if arguments.print or name in results:
            continue
        log = work / f"{name}.log"
        cost = measure([sys.executable, *command], {}, log, _BLESSED_OR_NOT)
        settings = make_options(name, Path("MODEL"), Path("DATA"), Path("WORK"))[1::2]
        results[name] = cost | read_result(root, log) | {"settings": settings}
        write_report({"results": results}, arguments.output)
        print(json.dumps({key: results[name][key] for key in (*cost, "blessed")}), flush=True)


if __name__ == "__main__":
    main()
