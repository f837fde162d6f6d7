"""The other side of lm_eval_parity.py: lm-evaluation-harness. Imports nothing of the project.

python tests/benchmarks/lm_eval_parity_peers.py FOLDER OUTPUT.json
"""

import csv
import json
import sys
from pathlib import Path
from typing import Any

import lm_eval
import numpy as np
import torch
import transformers
import yaml
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

KEYS = ("question", "choice0", "choice1", "choice2", "choice3", "answer")
MMLU_TEXT = (
    "{{question.strip()}}\nA. {{choice0}}\nB. {{choice1}}\nC. {{choice2}}\nD. {{choice3}}\nAnswer:"  # the harness' own
)
METRICS = [{"metric": name, "aggregation": "mean", "higher_is_better": True} for name in ("acc", "acc_norm")]


def load(folder: Path) -> HFLM:
    """The model; every text begins with the token that begins texts, as in the project's exports."""
    config = transformers.GPT2Config(**json.loads((folder / "config.json").read_text()))
    model = transformers.GPT2LMHeadModel(config).eval()
    weights = {name: torch.tensor(array) for name, array in np.load(folder / "weights.npz").items()}
    weights["lm_head.weight"] = weights["transformer.wte.weight"]
    model.load_state_dict(weights)
    merges = [tuple(line.split(" ")) for line in (folder / "merges.txt").read_text("utf-8").splitlines() if " " in line]
    merges = [pair for pair in merges if not pair[0].startswith("#version")]
    tokenizer = Tokenizer(models.BPE(json.loads((folder / "vocabulary.json").read_text("utf-8")), merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    start = tokenizer.id_to_token(config.bos_token_id)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start} $A", special_tokens=[(start, config.bos_token_id)]
    )
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=start, eos_token=start, pad_token=start
    )
    return HFLM(pretrained=model, tokenizer=fast, add_bos_token=True, batch_size=8, max_length=config.n_positions)


def write_task(folder: Path, name: str, test: Path, **settings: Any) -> None:
    """Writes the YAML of a task."""
    files = {"test": str(test)} | ({"dev": settings.pop("dev")} if "dev" in settings else {})
    task = {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": files},
        "test_split": "test",
        "output_type": "multiple_choice",
        "target_delimiter": " ",
        "metric_list": METRICS,
        **settings,
    }
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(task, sort_keys=False))


def write_tasks(folder: Path) -> dict[str, list[str]]:
    """Writes all tasks; returns their names by side."""
    names: dict[str, list[str]] = {"mmlu, 0 shots": [], "mmlu, 5 shots": [], "bbq": ["all_bbq"]}
    tasks = folder / "tasks"
    tasks.mkdir()
    for path in sorted((folder / "test").glob("*.csv")):
        subject = path.stem.removesuffix("_test")
        test, dev = (tasks / f"{subject}_{part}.jsonl" for part in ("test", "dev"))
        for source, target in ((path, test), (folder / "dev" / f"{subject}_dev.csv", dev)):
            with source.open(encoding="utf-8", newline="") as file:
                rows = [row for row in csv.reader(file) if row[0] != "question"]
            target.write_text("".join(json.dumps(dict(zip(KEYS, row, strict=True))) + "\n" for row in rows))
        about = subject.replace("_", " ")
        for shots in (0, 5):
            name = f"{subject}_{shots}"
            names[f"mmlu, {shots} shots"].append(name)
            write_task(
                tasks,
                name,
                test,
                dev=str(dev),
                fewshot_split="dev",
                fewshot_config={"sampler": "first_n"},
                num_fewshot=shots,
                description=f"The following are multiple choice questions (with answers) about {about}.\n\n",
                doc_to_text=MMLU_TEXT,
                doc_to_choice=["A", "B", "C", "D"],
                doc_to_target="{{answer|int}}",
            )
    write_task(
        tasks,
        "all_bbq",
        folder / "bbq" / "all.jsonl",
        doc_to_text="{{context}}\n\nQuestion: {{question}}\nAnswer:",
        doc_to_choice="{{[ans0, ans1, ans2]}}",
        doc_to_target="label",
    )
    return names


def main() -> None:
    """Evaluates and writes the accuracies."""
    folder = Path(sys.argv[1])
    names = write_tasks(folder)
    model = load(folder / "model")
    manager = TaskManager(include_path=str(folder / "tasks"), include_defaults=False)
    output: dict[str, Any] = {
        "packages": {module.__name__: module.__version__ for module in (lm_eval, transformers, torch)}
    }
    for side, tasks in names.items():
        found = lm_eval.simple_evaluate(model=model, tasks=tasks, task_manager=manager, bootstrap_iters=0, limit=None)
        counts = {task: len(found["samples"][task]) for task in tasks}
        output[side] = {
            metric: sum(found["results"][task][f"{metric},none"] * counts[task] for task in tasks)
            / sum(counts.values())
            for metric in ("acc", "acc_norm")
        }
    Path(sys.argv[2]).write_text(json.dumps(output))


if __name__ == "__main__":
    main()
