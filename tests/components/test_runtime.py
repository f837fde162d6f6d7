"""What TensorFlow says while it is loaded does not reach people who asked for something else."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = "from components import runtime; runtime.load_tensorflow_silently(); import tensorflow as tf; tf.zeros(1)"


def run(script):
    return subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)


def test_loading_says_nothing():
    done = run(SCRIPT)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_what_was_said_before_it_failed_is_told():
    broken = "import os, sys, types\nclass Broken:\n    def find_spec(self, *_):\n        os.write(2, b'why\\n'); raise OSError('x')\n"
    done = run(f"{broken}sys.meta_path.insert(0, Broken())\n{SCRIPT}")
    assert done.returncode == 1
    assert done.stderr.startswith("why\n") and "OSError: x" in done.stderr
