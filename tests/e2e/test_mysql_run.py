"""Whole runs with their metadata on a real MariaDB server, which they share, and which may go away."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
CONFIG = "configs/runs/tiny_gpt2_en_lora.yaml"
SHORT = (
    "--set", "train.max_steps=5", "--set", "evaluation.thresholds=[{metric: perplexity, min_improvement: 0.0}]",
)  # fmt: skip
DEADLINE_SECONDS = 600

pytestmark = pytest.mark.slow


class Project:
    """A root whose metadata are in a database of the server."""

    def __init__(self, mariadb, folder: Path, database: str):
        mariadb.make_database(database)
        metadata = {
            "kind": "mysql",
            "port": mariadb.port,
            "database": database,
            "user": "mlmd",
            "password_env": "MLMD_X",
        }
        self.root = folder / "runs"
        self.runner = folder / "runner.yaml"
        self.runner.write_text(json.dumps({"kind": "local", "root": str(self.root), "metadata": metadata}))
        self.environment = {**os.environ, "PYTHONPATH": str(ROOT), "MLMD_X": mariadb.password}

    def start(self, *arguments: str) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "-m", "pipeline", *arguments, "--runner", str(self.runner)],
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def call(self, *arguments: str) -> tuple[int, str]:
        process = self.start(*arguments)
        output, _ = process.communicate()
        return process.returncode, output

    def list_runs(self, *arguments: str) -> list[dict]:
        code, output = self.call("lineage", "runs", "--json", *arguments)
        assert code == 0, output
        return json.loads(output)


def test_run(mariadb, tmp_path):
    project = Project(mariadb, tmp_path, "one_run")
    code, output = project.call("run", CONFIG, *SHORT)
    assert code == 0, output
    code, output = project.call("run", CONFIG, *SHORT)
    assert output.count("cached") == 15
    trace = json.loads(project.call("lineage", "show", "--json")[1])["trace"]
    assert trace["data"][0]["path"].endswith("instructions.jsonl")
    assert not list(tmp_path.rglob("*.sqlite"))
    leaks = [p for p in project.root.rglob("*") if p.is_file() and mariadb.password.encode() in p.read_bytes()]
    assert not leaks


def test_two_pipelines_write_at_once(mariadb, tmp_path):
    project = Project(mariadb, tmp_path, "two_pipelines")
    configs = []
    for name in ("one", "two"):
        content = yaml.safe_load((ROOT / CONFIG).read_text(encoding="utf-8"))
        content["pipeline"]["name"] = name
        configs.append(tmp_path / f"{name}.yaml")
        configs[-1].write_text(yaml.safe_dump(content))
    processes = [project.start("run", str(config), *SHORT) for config in configs]
    outputs = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    runs = project.list_runs()
    assert {run["pipeline_name"] for run in runs} == {"one", "two"}
    # The same data and settings, and nothing of the one was taken for the other's.
    assert [(run["state"], run["blessed"], len(run["nodes"])) for run in runs] == [("complete", True, 16)] * 2
    assert all(set(run["nodes"].values()) == {"complete"} for run in runs)
    assert runs[0]["metrics"] == runs[1]["metrics"]
    assert runs[0]["pushed"] != runs[1]["pushed"]


def test_a_run_whose_database_went_away_goes_on(mariadb, tmp_path):
    project = Project(mariadb, tmp_path, "gone")
    process = project.start("run", CONFIG, *SHORT)
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not list(project.root.glob("logs/*/*/Trainer.log")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
    mariadb.kill()
    output, _ = process.communicate()
    assert process.returncode == 1
    assert f"mysql at 127.0.0.1:{mariadb.port}" in output and "--resume" in output
    assert "Traceback (most" not in output and mariadb.password not in output
    mariadb.start()
    (before,) = project.list_runs()
    assert before["state"] in ("dead", "failed")
    code, output = project.call("run", CONFIG, *SHORT, "--resume")
    assert code == 0, output
    (after,) = project.list_runs()
    assert (after["id"], after["state"], after["blessed"]) == (before["id"], "complete", True)
    finished = {node for node, state in before["nodes"].items() if state == "complete"}
    assert len(finished) >= 7 and all(after["nodes"][node] == "complete" for node in finished)
    # Each node was executed once, but for the one that was under way.
    shown = json.loads(project.call("lineage", "show", after["id"], "--json")[1])
    nodes = [step["node"] for step in shown["steps"]]
    assert len(nodes) == len(set(nodes)) == 16
