"""The peers' sides of training_speed.py: transformers + PEFT, and TRL. Imports nothing of the project.

python tests/benchmarks/training_speed_peers.py --side JSON
"""

import json
import random
import resource
import sys
import time
from pathlib import Path
from typing import Any

import torch
from machine import describe_machine
from peft import LoraConfig, get_peft_model
from transformers import GPT2Config, GPT2LMHeadModel

SEED = 0
TRAIN = {"learning_rate": 1e-4, "weight_decay": 0.01, "clip_norm": 1.0}
# Token 0 of GPT-2 is `!`, which hardly occurs alone; TRL's collator pads with it.
PADDING = 0
# Steps not timed.
WARMUP_STEPS = 2
# Fifty batches of examples at a time are sorted by length: how transformers' `group_by_length` makes batches.
GROUP = 50


def make_model(method: str) -> Any:
    """GPT-2 of 124 M parameters, with LoRA on all linear layers if asked for."""
    torch.manual_seed(SEED)
    config = GPT2Config(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, use_cache=False, attn_implementation="sdpa")
    model = GPT2LMHeadModel(config)
    if method == "lora":
        lora = LoraConfig(r=8, lora_alpha=16, target_modules=["c_attn", "c_proj", "c_fc"], fan_in_fan_out=True)
        model = get_peft_model(model, lora)
    return model.train()


def read_examples(path: str) -> list[dict[str, list[int]]]:
    """Examples of training_speed.py."""
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def make_batches(examples: list[Any], batch_size: int, number: int) -> list[dict[str, torch.Tensor]]:
    """`number` batches, evenly spread over their lengths: of similar examples, padded to the longest and a multiple of 8."""
    order = list(range(len(examples)))
    random.Random(SEED).shuffle(order)
    batches = []
    for start in range(0, len(order), batch_size * GROUP):
        group = sorted(order[start : start + batch_size * GROUP], key=lambda i: len(examples[i]["token_ids"]))
        batches += [group[i : i + batch_size] for i in range(0, len(group), batch_size)]
    batches.sort(key=lambda batch: max(len(examples[i]["token_ids"]) for i in batch))
    batches = [batches[int((i + 0.5) * len(batches) / number)] for i in range(number)]
    return [collate([examples[i] for i in batch]) for batch in batches]


def collate(examples: list[Any]) -> dict[str, torch.Tensor]:
    length = -(-max(len(example["token_ids"]) for example in examples) // 8) * 8
    shape = len(examples), length
    input_ids, labels = torch.zeros(shape, dtype=torch.long), torch.full(shape, -100)
    attention_mask = torch.zeros(shape, dtype=torch.long)
    for row, example in enumerate(examples):
        ids, mask = torch.tensor(example["token_ids"]), torch.tensor(example["target_mask"])
        input_ids[row, : len(ids)] = ids
        labels[row, : len(ids)] = torch.where(mask > 0, ids, -100)
        attention_mask[row, : len(ids)] = 1
    return {"input_ids": input_ids, "labels": labels, "attention_mask": attention_mask}


def train_with_transformers(settings: dict[str, Any], compile_model: bool) -> dict[str, Any]:
    """A loop as short as one can write it, on transformers' model and loss."""
    model = make_model(settings["method"])
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(
        parameters, lr=TRAIN["learning_rate"], weight_decay=TRAIN["weight_decay"], foreach=True
    )
    step_model = torch.compile(model, dynamic=True) if compile_model else model
    batches = make_batches(read_examples(settings["examples"]), settings["batch_size"], settings["steps"])
    result: dict[str, Any] = {"seconds": [], "tokens": [], "losses": [], "positions": []}

    def train(batch: dict[str, torch.Tensor]) -> float:
        loss = step_model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, TRAIN["clip_norm"])
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    for batch in batches[-WARMUP_STEPS:]:
        train(batch)
    for batch in batches:
        started = time.perf_counter()
        result["losses"].append(train(batch))
        result["seconds"].append(time.perf_counter() - started)
        result["tokens"].append(int(batch["attention_mask"].sum()))
        result["positions"].append(batch["input_ids"].numel())
    return result


def train_with_trl(settings: dict[str, Any], compile_model: bool) -> dict[str, Any]:
    """SFTTrainer with packing: rows of `max_length` tokens, as many target tokens a step as it packs."""
    import tempfile

    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import SFTConfig, SFTTrainer

    examples = read_examples(settings["examples"])
    columns = {
        "input_ids": [example["token_ids"] for example in examples],
        "completion_mask": [example["target_mask"] for example in examples],
    }
    # As many tokens a step as a batch of the others has.
    mean = sum(len(example["token_ids"]) for example in examples) / len(examples)
    rows = max(round(settings["batch_size"] * mean / settings["max_length"]), 1)
    result: dict[str, Any] = {"seconds": [], "tokens": [], "losses": [], "positions": []}

    class Counter(TrainerCallback):
        def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
            self.started = time.perf_counter()

        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            result["seconds"].append(time.perf_counter() - self.started)

    class Trainer(SFTTrainer):
        def training_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            result["tokens"].append(int((inputs["input_ids"] != PADDING).sum()))
            result["positions"].append(inputs["input_ids"].numel())
            loss = super().training_step(model, inputs, *args, **kwargs)
            result["losses"].append(loss.item())
            return loss

    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model=make_model(settings["method"]),
            train_dataset=Dataset.from_dict(columns),
            processing_class=make_tokenizer(folder),
            args=SFTConfig(
                output_dir=folder, max_length=settings["max_length"], packing=True, per_device_train_batch_size=rows,
                max_steps=WARMUP_STEPS + settings["steps"], learning_rate=TRAIN["learning_rate"], weight_decay=TRAIN["weight_decay"],
                lr_scheduler_type="constant", max_grad_norm=TRAIN["clip_norm"], report_to=[], save_strategy="no",
                logging_strategy="no", use_cpu=True, gradient_checkpointing=False, completion_only_loss=True,
                bf16=False, seed=SEED, disable_tqdm=True, torch_compile=compile_model,
            ),
            callbacks=[Counter()],
        )  # fmt: skip
        trainer.train()
    return {key: values[WARMUP_STEPS:] for key, values in result.items()}


def make_tokenizer(folder: str) -> Any:
    """A tokenizer that SFTTrainer asks for and, with tokens given, does not use."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordLevel({"<pad>": 0, "<eos>": 1}, unk_token="<pad>"))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>")


def main() -> None:
    """Trains the side that the command line names."""
    settings = json.loads(sys.argv[2])
    side = settings["side"]
    torch.set_num_threads(len(__import__("os").sched_getaffinity(0)))
    train = train_with_trl if side.startswith("trl") else train_with_transformers
    result = train(settings, compile_model=side.endswith("compile"))
    result["peak_rss"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    result["machine"] = describe_machine(["torch", "transformers", "peft", "trl"])
    Path(settings["output"]).write_text(json.dumps(result))


if __name__ == "__main__":
    main()
