"""The other side of constraints_parity.py: lm-evaluation-harness and torchmetrics. Imports nothing of the project.

python tests/benchmarks/constraints_parity_peers.py CASES.json VERDICTS.json
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

import nltk
import numpy as np
import torch
import torchmetrics
from langdetect import DetectorFactory
from torchmetrics.functional.text.bert import _get_precision_recall_f1

try:
    nltk.data.find("tokenizers/punkt_tab")
    HAS_SENTENCES = True
except LookupError:
    HAS_SENTENCES = False
    find = nltk.data.find
    nltk.data.find = lambda *given, **options: ""
    nltk.word_tokenize = nltk.tokenize.NLTKWordTokenizer().tokenize

import lm_eval
from lm_eval.tasks.ifeval import instructions_registry

SENTENCES = "length_constraints:number_sentences"
DetectorFactory.seed = 0


def check(case: dict[str, Any]) -> bool | None:
    """As the harness' strict test of one instruction."""
    if case["name"] == SENTENCES and not HAS_SENTENCES:
        return None
    instruction = instructions_registry.INSTRUCTION_DICT[case["name"]](case["name"])
    instruction.build_description(**case["arguments"])
    return bool(case["text"].strip() and instruction.check_following(case["text"]))


def find_number(text: str, pattern: str, group: int) -> str:
    """As the harness' filter `regex`, and what its `exact_match` ignores."""
    found = re.findall(pattern, text)
    if not found:
        return "[invalid]"
    match = found[group]
    if isinstance(match, tuple):
        match = next((part for part in match if part), "[invalid]")
    return re.sub(r"(?s).*#### |,|\$|\.$", "", match.strip()).lower()


def main() -> None:
    """Decides every case."""
    cases = json.loads(Path(sys.argv[1]).read_text())
    patterns = {"strict": (r"#### (\-?[0-9\.\,]+)", 0), "flexible": (r"(-?[$0-9.,]{2,})|(-?[0-9]+)", -1)}
    numbers = {
        name: [
            float(find_number(completion, pattern, group) == re.sub(r"(?s).*#### |,|\$|\.$", "", reference).lower())
            for completion, reference in cases["numbers"]
        ]
        for name, (pattern, group) in patterns.items()
    }
    embeddings = []
    for completion, reference in cases["embeddings"]:
        vectors = [torch.tensor(np.array(side, np.float32))[None, None] for side in (completion, reference)]
        weights = [torch.full((1, v.shape[2]), 1 / v.shape[2]) for v in vectors]
        embeddings.append([float(value) for value in _get_precision_recall_f1(*vectors, *weights)])
    output = {
        "packages": {module.__name__: module.__version__ for module in (lm_eval, nltk, torch, torchmetrics)},
        "left_out": [] if HAS_SENTENCES else [SENTENCES],
        "constraints": [check(case) for case in cases["constraints"]],
        "numbers": numbers,
        "embeddings": embeddings,
    }
    Path(sys.argv[2]).write_text(json.dumps(output))


if __name__ == "__main__":
    main()
