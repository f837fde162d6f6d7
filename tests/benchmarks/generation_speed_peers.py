"""The peers' sides of generation_speed.py: transformers' `generate`. Imports nothing of the project.

python tests/benchmarks/generation_speed_peers.py --side SETTINGS.json
"""

import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

import torch
from machine import describe_machine
from transformers import GPT2Config, GPT2LMHeadModel


def main() -> None:
    """Completes the batches that the settings hold."""
    settings = json.loads(Path(sys.argv[2]).read_text())
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(attn_implementation="sdpa")).eval()
    options: dict[str, Any] = {"max_new_tokens": settings["new_tokens"], "min_new_tokens": settings["new_tokens"]}
    options |= {"do_sample": False, "pad_token_id": 50256, "eos_token_id": 50256}
    if settings["side"].endswith("compile"):
        options["cache_implementation"] = "static"
        model.forward = torch.compile(model.forward, dynamic=True)
    result: dict[str, Any] = {"seconds": [], "tokens": []}
    with torch.inference_mode():
        for batch in settings["batches"]:
            started = time.perf_counter()
            length = max(map(len, batch["ids"]))
            ids = torch.full((len(batch["ids"]), length), 50256)
            mask = torch.zeros_like(ids)
            for row, tokens in enumerate(batch["ids"]):  # generation goes on at the right end
                ids[row, length - len(tokens) :] = torch.tensor(tokens)
                mask[row, length - len(tokens) :] = 1
            output = model.generate(input_ids=ids, attention_mask=mask, **options)
            assert output.shape[1] == length + settings["new_tokens"], output.shape
            result["seconds"].append(time.perf_counter() - started)
            result["tokens"].append(len(batch["ids"]) * settings["new_tokens"])
    result["peak_rss"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    result["machine"] = describe_machine(["torch", "transformers"])
    Path(settings["output"]).write_text(json.dumps(result))


if __name__ == "__main__":
    main()
