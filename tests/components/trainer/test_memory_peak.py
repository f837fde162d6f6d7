"""The memory estimate of a step against what a process really grows by."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from components import runtime

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = Path(__file__).with_name("memory_process.py")


FOLDER = os.environ.get("SMOLLM2_FOLDER", "")


def check_estimate(*arguments):
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    environment = os.environ | runtime.DEFAULTS | {"PYTHONPATH": str(ROOT)}
    process = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr[-4000:]
    found = json.loads(process.stdout.splitlines()[-1])
    assert found["estimate"] == pytest.approx(found["growth"], rel=0.15), found


@pytest.mark.slow
@pytest.mark.parametrize(("method", "shape"), [("lora", (1, 4, 512)), ("lora", (2, 16, 256)), ("full", (1, 8, 384))])
def test_the_estimate_is_what_the_process_grows_by(method, shape):
    check_estimate(method, *shape)


@pytest.mark.slow
@pytest.mark.skipif(not FOLDER, reason="set SMOLLM2_FOLDER to SmolLM2-135M-Instruct in Hugging Face's layout")
@pytest.mark.parametrize("shape", [(1, 2, 320), (1, 4, 320)])
def test_also_of_a_real_model(shape):
    check_estimate("lora", *shape, FOLDER)
