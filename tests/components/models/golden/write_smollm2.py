"""Writes some logits of SmolLM2-135M-Instruct: `python write_smollm2.py FOLDER`, with transformers 5.23.0 and torch 2.13 on a CPU.

The folder holds the model in Hugging Face's layout. Of three rows of 32 tokens, the logits of 200 tokens are kept.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

TEXTS = (
    "The capital of France is Paris. The capital of Germany is Berlin. The capital of Italy is Rome, and that of Spain is Madrid, of course.",
    "def fibonacci(n):\n    if n < 2:\n        return n\n    return fibonacci(n - 1) + fibonacci(n - 2)\n\nprint(fibonacci(10))",
    "<|im_start|>user\nA farmer has 12 cows and buys 7 more. How many are there?<|im_end|>\n<|im_start|>assistant\nThere are 19 cows now.",
)
folder = sys.argv[1]
tokenizer = AutoTokenizer.from_pretrained(folder)
token_ids = np.array([tokenizer(text * 2).input_ids[:32] for text in TEXTS])
model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
with torch.no_grad():
    logits = model(input_ids=torch.tensor(token_ids)).logits.numpy()
kept = np.sort(np.random.default_rng(0).choice(logits.shape[-1], 200, replace=False))
np.savez_compressed(
    Path(__file__).with_name("smollm2_135m_instruct.npz"),
    token_ids=token_ids.astype("int32"),
    kept=kept.astype("int32"),
    logits=logits[..., kept],
)
