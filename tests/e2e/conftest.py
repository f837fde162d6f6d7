"""The project as a user has it, in a folder of its own, and its runs as real processes."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from ml_metadata.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2

ROOT = Path(__file__).resolve().parents[2]
NUM_RECORDS = 400


@dataclass
class Run:
    exit_code: int
    output: str
    executed: set
    cached: set
    failed: set
    versions: list
    properties: dict


class Project:
    """A copy of the project that a test may edit, with the records and the run's configuration in it."""

    def __init__(self, folder):
        self.folder = folder
        for name in ("components", "configs", "pipeline"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copytree(ROOT / "data" / "base" / "tiny_gpt2_en", folder / "preset")
        shutil.copy(ROOT / "data" / "sample" / "schema.pbtxt", folder)
        with (ROOT / "data" / "sample" / "instructions.jsonl").open(encoding="utf-8") as file:
            self.lines = [next(file) for _ in range(NUM_RECORDS)]
        (folder / "records.jsonl").write_text("".join(self.lines), encoding="utf-8")
        self.config = {
            "pipeline": {"name": "e2e"},
            "data": {"path": "records.jsonl", "slice_columns": ["category"], "schema_path": "schema.pbtxt"},
            "text": {"max_length": 96},
            "model": {"preset": "preset"},
            "method": {"name": "lora", "rank": 4},
            "train": {"batch_size": 16, "learning_rate": 0.005, "bucket_boundaries": [64], "eval_every_steps": 10},
            "generation": {"max_new_tokens": 8},
            "evaluation": {
                "slice_columns": ["category"],
                "thresholds": [{"metric": "perplexity", "min_improvement": 0.0}],
                "min_examples": 20,
            },
        }
        (folder / "run.yaml").write_text(json.dumps(self.config))

    def start(self, *options):
        command = [sys.executable, "-m", "pipeline", "run", "run.yaml", *options]
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(self.folder), "CUDA_VISIBLE_DEVICES": ""},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *options):
        process = self.start(*options)
        output, _ = process.communicate()
        return self.describe(process.returncode, output)

    def command(self, *arguments, **options):
        return subprocess.run(
            [sys.executable, "-m", "pipeline", *arguments],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(self.folder)},
            capture_output=True,
            text=True,
            check=False,
            **options,
        )

    def open_store(self):
        config = metadata_store_pb2.ConnectionConfig()
        config.sqlite.filename_uri = str(self.folder / "runs" / "metadata.sqlite")
        config.sqlite.connection_mode = metadata_store_pb2.SqliteMetadataSourceConfig.READONLY
        return MetadataStore(config)

    def versions(self):
        return sorted(p.name for p in (self.folder / "runs" / "serving" / "e2e").glob("[!.]*"))

    def describe(self, exit_code, output):
        (run_id,) = re.findall(r"run (\d{8}-\d{6}-\d{6})", output)[:1]
        store = self.open_store()
        context = store.get_context_by_type_and_name("pipeline_run", run_id)
        node_of = {
            execution.id: c.name.partition(".")[2]
            for c in store.get_contexts_by_type("node")
            for execution in store.get_executions_by_context(c.id)
        }
        states, outputs = {}, {}
        for execution in store.get_executions_by_context(context.id):
            states.setdefault(execution.last_known_state, set()).add(node_of[execution.id])
            artifact_ids = [
                e.artifact_id for e in store.get_events_by_execution_ids([execution.id]) if e.type == e.OUTPUT
            ]
            for artifact in store.get_artifacts_by_id(artifact_ids):
                values = {**artifact.properties, **artifact.custom_properties}
                outputs[node_of[execution.id], store.get_artifact_types_by_id([artifact.type_id])[0].name] = {
                    k: getattr(v, v.WhichOneof("value")) for k, v in values.items()
                }
        state = metadata_store_pb2.Execution
        return Run(
            exit_code=exit_code,
            output=output,
            executed=states.get(state.COMPLETE, set()),
            cached=states.get(state.CACHED, set()),
            failed=states.get(state.FAILED, set()),
            versions=self.versions(),
            properties=outputs,
        )


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return Project(tmp_path_factory.mktemp("project"))
