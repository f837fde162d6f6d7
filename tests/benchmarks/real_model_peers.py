"""The peer's side of real_model.py: the script that one writes with transformers and PEFT. Imports nothing of the project.

python tests/benchmarks/real_model_peers.py JSON
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import torch
from machine import describe_machine
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

LORA = {"r": 16, "lora_alpha": 32, "target_modules": "all-linear"}
TRAIN = {"learning_rate": 1e-3, "weight_decay": 0.01, "clip_norm": 1.0}
GENERATION_BATCH = 8


def collate(rows: list[dict[str, list[int]]], padding: int) -> dict[str, torch.Tensor]:
    """Rows padded on the right to the longest."""
    length = max(len(row["token_ids"]) for row in rows)
    input_ids = torch.full((len(rows), length), padding)
    labels, attention_mask = torch.full((len(rows), length), -100), torch.zeros((len(rows), length), dtype=torch.long)
    for i, row in enumerate(rows):
        count = len(row["token_ids"])
        input_ids[i, :count] = torch.tensor(row["token_ids"])
        labels[i, :count] = torch.tensor(row["labels"])
        attention_mask[i, :count] = 1
    return {"input_ids": input_ids, "attention_mask": attention_mask, "labels": labels}


def evaluate(model: Any, batches: list[dict[str, torch.Tensor]]) -> float:
    """Mean loss per target token, in nats."""
    total = count = 0.0
    model.eval()
    with torch.no_grad():
        for batch in batches:
            targets = int((batch["labels"][:, 1:] >= 0).sum())
            total += model(**batch).loss.item() * targets
            count += targets
    return total / count


def answer(model: Any, tokenizer: Any, prompts: list[list[int]], new_tokens: int) -> list[str]:
    """Greedy answers, as many prompts at once as `GENERATION_BATCH`, padded on the left."""
    answers = []
    for start in range(0, len(prompts), GENERATION_BATCH):
        some = prompts[start : start + GENERATION_BATCH]
        length = max(map(len, some))
        ids = torch.tensor([[tokenizer.pad_token_id] * (length - len(prompt)) + prompt for prompt in some])
        mask = torch.tensor([[0] * (length - len(prompt)) + [1] * len(prompt) for prompt in some])
        with torch.no_grad():
            output = model.generate(
                input_ids=ids,
                attention_mask=mask,
                max_new_tokens=new_tokens,
                do_sample=False,
                pad_token_id=tokenizer.pad_token_id,
            )
        answers += tokenizer.batch_decode(output[:, length:], skip_special_tokens=True)
    return answers


def main() -> None:
    """Does the work that the command line names, and times its parts."""
    settings = json.loads(sys.argv[1])
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    torch.manual_seed(0)
    output = Path(settings["output"])
    output.mkdir()
    phases: dict[str, float] = {}
    last = time.perf_counter()

    def finish(name: str) -> None:
        nonlocal last
        now = time.perf_counter()
        phases[name], last = round(now - last, 2), now

    content = json.loads(Path(settings["rows"]).read_text())
    tokenizer = AutoTokenizer.from_pretrained(settings["model"])
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    model = AutoModelForCausalLM.from_pretrained(settings["model"], dtype=torch.float32)
    model = get_peft_model(model, LoraConfig(**LORA, task_type="CAUSAL_LM"))
    steps, evaluation = (
        [collate(rows, tokenizer.pad_token_id) for rows in content[split]] for split in ("train", "eval")
    )
    finish("load")
    losses: list[float] = []
    with torch.autocast("cpu", torch.bfloat16, enabled="bfloat16" in settings["dtype"]):
        before = evaluate(model, evaluation)
        finish("evaluate_before")
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(parameters, lr=TRAIN["learning_rate"], weight_decay=TRAIN["weight_decay"])
        model.train()
        for batch in steps:
            loss = model(**batch).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, TRAIN["clip_norm"])
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            losses.append(loss.item())
        finish("train")
        after = evaluate(model, evaluation)
        finish("evaluate_after")
        answers = answer(model, tokenizer, content["prompts"], settings["new_tokens"])
        (output / "answers.json").write_text(json.dumps(answers))
        finish("answer")
    model.merge_and_unload().save_pretrained(output / "model")
    tokenizer.save_pretrained(output / "model")
    finish("save")
    result = {"phases": phases, "losses": losses, "eval_loss_before": before, "eval_loss_after": after}
    result["machine"] = describe_machine(["torch", "transformers", "peft"])
    (output / "result.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main()
