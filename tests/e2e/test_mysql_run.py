"""A whole run with its metadata on a real MariaDB server."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_run(mariadb, tmp_path):
    metadata = {"kind": "mysql", "port": mariadb.port, "database": "mlmd", "user": "mlmd", "password_env": "MLMD_X"}
    runner = tmp_path / "runner.yaml"
    root = tmp_path / "runs"
    runner.write_text(json.dumps({"kind": "local", "root": str(root), "metadata": metadata}))

    def call(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "pipeline", *arguments, "--runner", str(runner)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "MLMD_X": mariadb.password},
            capture_output=True,
            text=True,
            check=False,
        )

    thresholds = "evaluation.thresholds=[{metric: perplexity, min_improvement: 0.0}]"
    options = ["--set", "train.max_steps=5", "--set", thresholds]
    result = call("run", "configs/runs/tiny_gpt2_en_lora.yaml", *options)
    assert result.returncode == 0, result.stdout
    again = call("run", "configs/runs/tiny_gpt2_en_lora.yaml", *options)
    assert again.stdout.count("cached") == 14
    trace = json.loads(call("lineage", "show", "--json").stdout)
    assert trace["data"][0]["path"].endswith("instructions.jsonl")
    assert not list(tmp_path.rglob("*.sqlite"))
    leaks = [p for p in root.rglob("*") if p.is_file() and mariadb.password.encode() in p.read_bytes()]
    assert not leaks
