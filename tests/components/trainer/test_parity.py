"""The first steps of a training against those of PyTorch, transformers and PEFT.

Their losses were computed by tests/benchmarks/training_parity.py, on the same weights and batches, with the same optimizer.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[3]
BENCHMARKS = ROOT / "tests" / "benchmarks"
NUM_STEPS = 6


def test_the_loss_curve_is_that_of_pytorch(tmp_path):
    golden = json.loads((BENCHMARKS / "results" / "training_parity.json").read_text())["methods"]
    script = str(BENCHMARKS / "training_parity.py")
    command = [sys.executable, script, "export", "--output", str(tmp_path), "--steps", str(NUM_STEPS)]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"KERAS_BACKEND": "tensorflow"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for method in ("full", "lora"):
        with np.load(tmp_path / f"{method}.npz") as file:
            losses = file["losses"]
        assert len(losses) == NUM_STEPS
        np.testing.assert_allclose(losses, golden[method]["losses"][:NUM_STEPS], rtol=1e-4, err_msg=method)
