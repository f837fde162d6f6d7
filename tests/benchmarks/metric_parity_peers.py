"""The peers' side of metric_parity.py: torchmetrics. Imports nothing of the project.

python tests/benchmarks/metric_parity_peers.py PAIRS.json VALUES.json
"""

import importlib.metadata
import json
import sys
from pathlib import Path
from typing import Any

from torchmetrics.text import CHRFScore, SacreBLEUScore, SQuAD
from torchmetrics.text.rouge import ROUGEScore


def main() -> None:
    """Writes each metric's values over its pairs."""
    pairs = json.loads(Path(sys.argv[1]).read_text())
    values: dict[str, Any] = {}
    squad = SQuAD()
    for i, (completion, reference) in enumerate(pairs["squad"]):
        prediction = {"prediction_text": completion, "id": str(i)}
        squad.update([prediction], [{"answers": {"answer_start": [0], "text": [reference]}, "id": str(i)}])
    found = squad.compute()
    values["squad"] = {
        "squad_exact_match": float(found["exact_match"]) / 100,
        "squad_f1": float(found["f1"]) / 100,
    }
    completions, references = zip(*pairs["rouge"], strict=True)
    rouge = ROUGEScore(rouge_keys=("rouge1", "rouge2", "rougeL"))(list(completions), list(references))
    values["rouge"] = {f"rouge_{key[-1].lower()}": float(rouge[f"rouge{key[-1]}_fmeasure"]) for key in ("1", "2", "L")}
    completions, references = zip(*pairs["chrf"], strict=True)
    chrf = CHRFScore(n_word_order=0)(list(completions), [[reference] for reference in references])
    values["chrf"] = {"chrf": 100 * float(chrf)}
    completions, references = zip(*pairs["bleu"], strict=True)
    bleu = SacreBLEUScore(tokenize="13a")(list(completions), [[reference] for reference in references])
    values["bleu"] = {"bleu": 100 * float(bleu)}
    values["packages"] = {name: importlib.metadata.version(name) for name in ("torchmetrics", "torch")}
    Path(sys.argv[2]).write_text(json.dumps(values))


if __name__ == "__main__":
    main()
