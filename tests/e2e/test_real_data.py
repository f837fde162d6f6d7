"""Whole runs on real data, few steps each: what the sample's short records do not show."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "data"
RUN = "configs/runs/tiny_gpt2_en_lora.yaml"
OPTIONS = {
    "data.schema_path": "null",
    "text.max_length": "384",
    "train.bucket_boundaries": "[64, 128, 256, 384]",
    "train.max_steps": "5",
    "train.batch_size": "8",
    "generation.max_new_tokens": "2",
    "evaluation.thresholds": "[{metric: perplexity, min_improvement: 0.0}]",
}
DATA_SETS = {
    "gsm8k": (1319, {
        "data.path": SHARED / "gsm8k" / "test.jsonl",
        "data.columns": "{instruction: question, output: answer}",
        "data.slice_columns": "[]",
        "evaluation.slice_columns": "[]",
    }),
    "dolly": (15011, {
        "data.path": SHARED / "dolly-15k" / "dolly.jsonl.gz",
        "data.columns": "{instruction: instruction, input: context, output: response}",
        "text.max_truncated_fraction": "0.5",
    }),
    "sharegpt": (500, {
        "data.path": SHARED / "identity-sharegpt",
        "data.columns": "{messages: conversations}",
        "text.template": "chat",
        "data.slice_columns": "[]",
        "evaluation.slice_columns": "[]",
    }),
}  # fmt: skip


def run(root, name, options):
    settings = {"pipeline.name": name, **OPTIONS, **options}
    arguments = [argument for key, value in settings.items() for argument in ("--set", f"{key}={value}")]
    return subprocess.run(
        [sys.executable, "-m", "pipeline", "run", RUN, "--root", str(root), *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", DATA_SETS)
def test_run(tmp_path, name):
    rows, options = DATA_SETS[name]
    if not Path(options["data.path"]).exists():
        pytest.skip(f"needs ../shared/data/{name}, which this checkout does not have beside it")
    result = run(tmp_path, name, options)
    assert result.returncode == 0, result.stdout
    read, kept, quarantined = (
        int(number.replace(",", ""))
        for number in re.search(r"([\d,]+) read, ([\d,]+) kept, ([\d,]+) quarantined", result.stdout).groups()
    )
    assert read == rows == kept + quarantined
    assert "Blessed" in result.stdout


@pytest.mark.slow
def test_gate_tells_better_worse_and_no_difference_apart(tmp_path):
    _, options = DATA_SETS["gsm8k"]
    if not Path(options["data.path"]).exists():
        pytest.skip("needs ../shared/data/gsm8k, which this checkout does not have beside it")
    options = {**options, "text.max_length": "192", "train.bucket_boundaries": "[192]", "train.max_steps": "30"}
    options |= {"text.max_truncated_fraction": "1.0", "train.batch_size": "16"}
    options["evaluation.thresholds"] = "[{metric: token_accuracy, min_improvement: 0.0}]"

    def judge(**changes):
        result = run(tmp_path, "gate", options | changes)
        report = next((tmp_path / "artifacts" / "gate" / "Evaluator" / "evaluation_result").glob("*"), None)
        assert report is not None, result.stdout
        return result.returncode, " ".join(result.stdout.split())

    code, text = judge()
    assert code == 0, text
    assert "Blessed: token_accuracy improves on the baseline by more than 0" in text
    # Trained again, all but alike.
    code, text = judge(**{"train.learning_rate": "0.0040001"})
    assert code == 3, text
    assert "Not blessed, for lack of evidence that token_accuracy" in text
    # Hardly trained.
    code, text = judge(**{"train.max_steps": "2"})
    assert code == 3, text
    assert "Not blessed: it does not hold that token_accuracy improves on the baseline" in text
    assert "latest blessed model" in text
