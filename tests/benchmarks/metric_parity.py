"""Do the metrics give the numbers of other libraries' implementations, on real pairs of texts?

    python tests/benchmarks/metric_parity.py --data ../shared/data --peer-python /path/to/python

Pairs: XQuAD's answers with up to three words of their context on either side (SQuAD's measures), SciTLDR's first sentences and
summaries (ROUGE, chrF), NTREX's references and sources (BLEU). The peers' environment has requirements-metrics.txt.
"""

import argparse
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

from components.metrics.metric import Prediction, Sums
from components.metrics.table import make_metric

# Largest difference that rounding explains; peers compute in float32.
TOLERANCE = 1e-5


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Records of a JSON Lines file, also .gz."""
    content = path.read_bytes()
    text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
    return [json.loads(line) for line in text.splitlines() if line.strip()]


def make_pairs(data: Path) -> dict[str, list[tuple[str, str]]]:
    """(completion, reference) pairs by metric."""
    rng = np.random.default_rng(0)
    answers = []
    for article in json.loads((data / "xquad" / "xquad.en.json").read_text())["data"]:
        for paragraph in article["paragraphs"]:
            for question in paragraph["qas"]:
                answer = question["answers"][0]
                before = paragraph["context"][: answer["answer_start"]].split()[-3:]
                after = paragraph["context"][answer["answer_start"] + len(answer["text"]) :].split()[:3]
                more = rng.integers(0, 4, 2)
                words = [*before[len(before) - more[0] :], answer["text"], *after[: more[1]]]
                answers.append((" ".join(words), answer["text"]))
    papers = read_lines(data / "scitldr" / "train.jsonl.gz")
    summaries = [(row["source"][0], row["target"][0]) for row in papers[:500]]
    sentences = [(row["deu"], row["eng"]) for row in read_lines(data / "ntrex" / "ntrex.jsonl")[:500]]
    return {"squad": answers, "rouge": summaries, "chrf": summaries, "bleu": sentences}


def compute(name: str, pairs: list[tuple[str, str]]) -> dict[str, float]:
    """This project's values."""
    metric, sums = make_metric(name, {}), Sums(1)
    for completion, reference in pairs:
        for key, number in metric.count(Prediction(completion=completion, reference=reference)).items():
            sums[key] = sums[key] + number
    return {key: float(values[0]) for key, values in metric.finish(sums).items()}


def main() -> None:
    """Compares, writes the report, and fails if a difference is more than rounding."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with xquad/, scitldr/ and ntrex/")
    parser.add_argument("--peer-python", required=True, help="interpreter with requirements-metrics.txt")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "metric_parity.json")
    arguments = parser.parse_args()
    pairs = make_pairs(arguments.data)
    with tempfile.TemporaryDirectory() as folder:
        given, output = Path(folder, "pairs.json"), Path(folder, "values.json")
        given.write_text(json.dumps(pairs))
        script = str(Path(__file__).with_name("metric_parity_peers.py"))
        subprocess.run([arguments.peer_python, script, str(given), str(output)], check=True)
        peers = json.loads(output.read_text())
    report: dict[str, Any] = {"peer_packages": peers.pop("packages"), "metrics": {}}
    for name, theirs in peers.items():
        ours = compute(name, pairs[name])
        report["metrics"][name] = {
            "pairs": len(pairs[name]),
            "values": {key: [ours[key], value] for key, value in theirs.items()},
            "largest_difference": max(abs(ours[key] - value) for key, value in theirs.items()),
        }
    write_report(report, arguments.output)
    print(json.dumps(report["metrics"], indent=1))
    # Scales to 100 have coarser rounding.
    bad = [name for name, m in report["metrics"].items() if m["largest_difference"] > 100 * TOLERANCE]
    if bad:
        sys.exit(f"differences beyond rounding: {', '.join(bad)}")


if __name__ == "__main__":
    main()
