"""Do IFEval's constraints, GSM8K's numbers and embedding similarity decide as the implementations of their fields do?

    python tests/benchmarks/constraints_parity.py --data ../shared/data --peer-python /path/to/python

Constraints: each of IFEval's 541 prompts with four texts (an answer of Dolly, that answer with Markdown and a title, the prompt
itself, and the answer in capitals), against the checks in lm-evaluation-harness. NLTK's model of sentences is downloaded by
those; where it is not there, the constraint on sentences is left out, and words are told apart without it. Numbers: GSM8K's
1,319 answers, half of them damaged, against the harness' patterns. Embeddings: 200 pairs of SciTLDR through one small encoder
of random weights, matched here and by torchmetrics. The peers' environment has requirements-lm-eval.txt.
"""

import argparse
import collections
import gzip
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from harness import write_report

from components.embedding.annotator import compare
from components.metrics.constraints import follows
from components.metrics.metric import Prediction
from components.metrics.number_match import NumberMatch


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Records of a JSON Lines file, also .gz."""
    content = path.read_bytes()
    text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
    return [json.loads(line) for line in text.splitlines() if line.strip()]


def make_cases(data: Path) -> dict[str, Any]:
    """What both sides are given."""
    rng = np.random.default_rng(0)
    answers = [
        row["response"] for row in read_lines(data / "dolly-15k" / "dolly.jsonl.gz") if len(row["response"]) > 200
    ]
    constraints = []
    for row in read_lines(data / "ifeval" / "en_input_data.jsonl"):
        answer = answers[rng.integers(len(answers))]
        marked = f"<<A title>>\n* {answer}\n*one* and **two** [place] SECTION 1\n***\nP.S. `end`"
        for text in (answer, marked, row["prompt"], answer.upper()):
            for name, given in zip(row["instruction_id_list"], row["kwargs"], strict=True):
                arguments = {key: value for key, value in (given or {}).items() if value is not None}
                constraints.append({"name": name.removeprefix("en:"), "arguments": arguments, "text": text})
    numbers = []
    for place, row in enumerate(read_lines(data / "gsm8k" / "test.jsonl")):
        damaged = row["answer"] if place % 2 else row["answer"].replace("####", "so")[: len(row["answer"]) - place % 5]
        numbers.append((damaged, row["answer"]))
    papers = read_lines(data / "scitldr" / "train.jsonl.gz")[:200]
    return {
        "constraints": constraints,
        "numbers": numbers,
        "embeddings": [(row["source"][0], row["target"][0]) for row in papers],
    }


def embed(pairs: list[tuple[str, str]]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Vectors of the words of each text, from a table of random ones and their neighbours: each depends on its context."""
    rng = np.random.default_rng(0)
    table: dict[str, np.ndarray] = collections.defaultdict(lambda: rng.standard_normal(16).astype(np.float32))

    def encode(text: str) -> np.ndarray:
        words = np.stack([table[word.lower()] for word in text.split()])
        mixed = words + 0.3 * np.roll(words, 1, axis=0)
        return mixed / np.linalg.norm(mixed, axis=-1, keepdims=True)

    return [(encode(completion), encode(reference)) for completion, reference in pairs]


def main() -> None:
    """Compares and writes the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with dolly-15k/, ifeval/, gsm8k/ and scitldr/")
    parser.add_argument("--peer-python", required=True, help="interpreter with requirements-lm-eval.txt")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "constraints_parity.json")
    arguments = parser.parse_args()
    cases = make_cases(arguments.data)
    vectors = embed(cases["embeddings"])
    with tempfile.TemporaryDirectory() as folder:
        given, output = Path(folder, "cases.json"), Path(folder, "verdicts.json")
        cases["embeddings"] = [[completion.tolist(), reference.tolist()] for completion, reference in vectors]
        given.write_text(json.dumps(cases))
        script = str(Path(__file__).with_name("constraints_parity_peers.py"))
        subprocess.run([arguments.peer_python, script, str(given), str(output)], check=True)
        peers = json.loads(output.read_text())
    report: dict[str, Any] = {"peer_packages": peers["packages"], "constraints": {}, "left_out": peers["left_out"]}
    differing = []
    for case, theirs in zip(cases["constraints"], peers["constraints"], strict=True):
        if theirs is None:
            continue
        row = report["constraints"].setdefault(case["name"], {"checks": 0, "followed": 0, "differ": 0})
        ours = follows(case["text"], case["name"], case["arguments"])
        row["checks"] += 1
        row["followed"] += theirs
        row["differ"] += ours != theirs
        if ours != theirs:
            differing.append((case["name"], case["arguments"], case["text"][:200]))
    report["checks"] = sum(row["checks"] for row in report["constraints"].values())
    report["checks_that_differ"] = len(differing)
    for name, last in (("strict", False), ("flexible", True)):
        metric = NumberMatch(last_number=last)
        ours = [metric.score(Prediction(completion=c, reference=r))["number_match"] for c, r in cases["numbers"]]
        pairs = list(zip(ours, peers["numbers"][name], strict=True))
        report[f"numbers, {name}"] = {"pairs": len(pairs), "right": sum(ours), "differ": sum(a != b for a, b in pairs)}
    here = np.array([compare(completion, reference) for completion, reference in vectors])
    report["embeddings"] = {
        "pairs": len(here),
        "largest_difference": float(np.abs(here - np.array(peers["embeddings"])).max()),
    }
    write_report(report, arguments.output)
    for case in differing[:20]:
        print("differs:", case)
    print(json.dumps({key: value for key, value in report.items() if key != "machine"}, indent=1))


if __name__ == "__main__":
    main()
