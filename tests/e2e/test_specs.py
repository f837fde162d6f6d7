"""The default run three ways: on this machine, and as both clusters would run it. What comes of it must be the same."""

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf
from ml_metadata.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2

ROOT = Path(__file__).resolve().parents[2]
CONFIG = "configs/runs/tiny_gpt2_en_lora.yaml"
# Few steps; blessed if it is better at all, so that the next run has a baseline.
OPTIONS = ("--set", "train.max_steps=10", "--set", "evaluation.thresholds=[{metric: perplexity, min_improvement: 0.0}]")

pytestmark = pytest.mark.slow


def call(*arguments):
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 3), done.stdout + done.stderr
    return done.stdout


def hash_examples(uri):
    """Hashes of the examples of each split, in order."""
    found = {}
    for folder in sorted(Path(uri).glob("Split-*")):
        files = sorted(str(path) for path in folder.glob("*"))
        records = tf.data.TFRecordDataset(files, compression_type="GZIP")
        found[folder.name] = [hashlib.sha256(record.numpy()).hexdigest() for record in records]
    return found


def open_store(path):
    config = metadata_store_pb2.ConnectionConfig()
    config.sqlite.filename_uri = str(path)
    config.sqlite.connection_mode = metadata_store_pb2.SqliteMetadataSourceConfig.READONLY
    return MetadataStore(config)


def read_store(path, run_id):
    """URI and properties of the artifacts of a run, by node and type."""
    store = open_store(path)
    context = store.get_context_by_type_and_name("pipeline_run", run_id)
    found = {}
    for execution in store.get_executions_by_context(context.id):
        (node,) = (c.name.partition(".")[2] for c in store.get_contexts_by_execution(execution.id) if c.type == "node")
        ids = [e.artifact_id for e in store.get_events_by_execution_ids([execution.id]) if e.type == e.OUTPUT]
        for artifact in store.get_artifacts_by_id(ids):
            values = {k: getattr(v, v.WhichOneof("value")) for k, v in artifact.custom_properties.items()}
            found[node, artifact.type] = (artifact.uri, values)
    return found


def read_registry(path, run_id):
    rows = [row for row in json.loads(path.read_text()) if row["run"] == run_id]
    return {(row["task"], row["title"].removeprefix("tfx.")): (row["uri"], row["metadata"]) for row in rows}


def summarize(artifacts):
    evaluation = artifacts["Evaluator", "ModelEvaluation"][1]
    return {
        "examples": hash_examples(artifacts["Tokenizer", "Examples"][0]),
        "metrics": json.loads(evaluation["metrics"]),
        "intervals": json.loads(evaluation["intervals"]),
        "baseline": evaluation["baseline"],
        "blessed": artifacts["Evaluator", "ModelBlessing"][1]["blessed"],
        "pushed": artifacts["Pusher", "PushedModel"][1]["pushed"],
    }


def find_run_id(output):
    return re.findall(r"run (\d{8}-\d{6}-\d{6})", output)[0]


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    root = tmp_path_factory.mktemp("local")
    output = call("run", CONFIG, "--root", str(root), *OPTIONS)
    return summarize(read_store(root / "metadata.sqlite", find_run_id(output)))


@pytest.fixture(scope="module")
def kubeflow_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("kubeflow")


@pytest.fixture(scope="module", params=["kubeflow", "vertex"])
def cluster(request, tmp_path_factory, kubeflow_folder):
    """Both runs of the compiled pipeline: what the store, or what stands in for it, says."""
    folder = kubeflow_folder if request.param == "kubeflow" else tmp_path_factory.mktemp(request.param)
    spec, root = folder / "pipeline.yaml", folder / "root"
    call("compile", CONFIG, "--runner", request.param, "--image", "registry/image:1", "--output", str(spec), *OPTIONS)
    results = []
    # Another learning rate at the start of the second run, so that it has something to train.
    for more in ((), ("--param", "train_learning_rate=0.002")):
        run_id = find_run_id(call("run-spec", str(spec), "--root", str(root), *more))
        if request.param == "kubeflow":
            found = read_store(root / "metadata.sqlite", run_id)
        else:
            found = read_registry(root / "artifacts.json", run_id)
        results.append(summarize(found))
    return results


def test_examples_metrics_and_blessing_are_those_of_the_local_runner(local, cluster):
    assert cluster[0]["examples"] == local["examples"]
    assert {name: len(ids) for name, ids in local["examples"].items()} == {
        "Split-train": 5125,
        "Split-eval": 657,
        "Split-test": 618,
    }
    assert cluster[0]["metrics"] == local["metrics"]
    assert cluster[0]["intervals"] == local["intervals"]
    assert (cluster[0]["blessed"], cluster[0]["pushed"], cluster[0]["baseline"]) == (1, 1, "preset")
    assert (local["blessed"], local["pushed"], local["baseline"]) == (1, 1, "preset")


def test_the_second_run_is_compared_with_the_first_ones_blessed_model(cluster):
    first, second = cluster
    assert second["baseline"] == "latest blessed model"
    assert second["metrics"]["baseline"] == first["metrics"]["candidate"]
    assert second["metrics"]["candidate"] != first["metrics"]["candidate"]


@pytest.mark.parametrize("cluster", ["kubeflow"], indirect=True)
def test_a_run_on_kubeflow_in_which_nothing_is_new_ends_at_once(cluster, kubeflow_folder):
    spec, root = kubeflow_folder / "pipeline.yaml", kubeflow_folder / "root"
    output = call("run-spec", str(spec), "--root", str(root))
    assert "16 tasks were skipped" in output
    run_id = find_run_id(output)
    context = open_store(root / "metadata.sqlite").get_context_by_type_and_name("pipeline_run", run_id)
    reason = context.custom_properties["skip_reason"].string_value
    assert reason.startswith("data, configuration, code, preset and packages are those of the blessed run ")
    log = (root / "runs" / run_id / "runcheck" / "executor.log").read_text()
    assert log.splitlines()[-1] == f"Skipped: {reason}."
    assert read_store(root / "metadata.sqlite", run_id) == {}
    # Forced, every node runs or comes from the cache.
    forced = call("run-spec", str(spec), "--root", str(root), "--param", "force=true")
    assert "skipped" not in forced
    blessed = read_store(root / "metadata.sqlite", find_run_id(forced))["Evaluator", "ModelBlessing"]
    assert blessed[1]["blessed"] == 1
