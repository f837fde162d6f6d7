"""The whole pipeline with every artifact, the data, the preset and the serving folder in a bucket.

The libraries read and write as they do on Google Cloud; what answers them is a server on this machine (`storage_server.py`).
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ml_metadata.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2

ROOT = Path(__file__).resolve().parents[2]
PRESET = ROOT / "data" / "base" / "tiny_gpt2_en"
NUM_RECORDS = 300
PARTS = 2
NODES = {
    "ExampleGen",
    "StatisticsGen",
    "SchemaGen",
    "ExampleValidator",
    "Tokenizer",
    "Partitioner",
    "TokenizedSchema",
    "Round0Transform",
    "Round0Receipt",
    "Round0Trainer",
    "ScoredSchema",
    "TokenScorer",
    "Transform",
    "CleaningReport",
    "Receipt",
    "Trainer",
    "PresetImporter",
    "BaselineResolver",
    "CandidatePredictor",
    "PresetPredictor",
    "BaselinePredictor",
    "Evaluator",
    "Pusher",
}
# What is the same wherever the files are.
COMPARED = {
    "ExampleGen": ("rows_kept", "rows_by_split", "data_sha256"),
    "Tokenizer": ("tokens", "target_tokens"),
    "TokenScorer": ("examples", "target_tokens"),
    "CleaningReport": ("kept_share", "num_kept_tokens", "threshold"),
    "Receipt": ("rows", "supervised_tokens", "rows_with_supervised_end_token"),
    "Trainer": ("base_hash", "eval_loss_before", "eval_loss_after", "steps"),
    "CandidatePredictor": ("examples", "target_tokens"),
    "Evaluator": ("metrics", "intervals", "checks"),
    "Pusher": ("pushed",),
}


def make_config(data, preset):
    return {
        "pipeline": {"name": "places"},
        "data": {"path": data, "slice_columns": ["category"]},
        "text": {"max_length": 96, "max_truncated_fraction": 1.0},
        "model": {"preset": preset},
        "token_cleaning": {"strategy": "self_evolving", "parts": PARTS},
        "method": {"name": "lora", "rank": 2},
        "train": {
            "batch_size": 16,
            "learning_rate": 0.01,
            "max_steps": 6,
            "bucket_boundaries": [],
            "eval_every_steps": 3,
            "jit_compile": False,
        },
        "generation": {"max_new_tokens": 4},
        "evaluation": {
            "resamples": 200,
            "thresholds": [{"metric": "perplexity", "min_improvement": 0.0}],
            "min_examples": 5,
        },
    }


def run(config, root, folder, environment):
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps(config))
    (folder / "temp").mkdir()
    process = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("run_below.py")), str(folder / "run.json"), root, str(folder)],
        cwd=ROOT,
        env={
            **os.environ,
            **environment,
            "PYTHONPATH": str(ROOT),
            "CUDA_VISIBLE_DEVICES": "",
            "TMPDIR": str(folder / "temp"),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    logs = "\n".join(path.read_text()[-4000:] for path in sorted(folder.glob("logs/*/*/*.log")))
    assert process.returncode == 0, process.stdout + logs
    return read_outputs(folder / "metadata.sqlite")


def read_outputs(path):
    """Properties of the output artifacts by node, all of a node's together; and the addresses of all artifacts."""
    config = metadata_store_pb2.ConnectionConfig()
    config.sqlite.filename_uri = str(path)
    config.sqlite.connection_mode = metadata_store_pb2.SqliteMetadataSourceConfig.READONLY
    store = MetadataStore(config)
    properties = {}
    for context in store.get_contexts_by_type("node"):
        found = properties.setdefault(context.name.partition(".")[2], {})
        for execution in store.get_executions_by_context(context.id):
            assert execution.last_known_state in (execution.COMPLETE, execution.CACHED), context.name
            events = store.get_events_by_execution_ids([execution.id])
            ids = [event.artifact_id for event in events if event.type == event.OUTPUT]
            for artifact in store.get_artifacts_by_id(ids):
                values = {**artifact.properties, **artifact.custom_properties}
                found |= {name: getattr(value, value.WhichOneof("value")) for name, value in values.items()}
    return properties, [artifact.uri for artifact in store.get_artifacts()]


def flatten(value, prefix=""):
    """Leaves of nested values by their place; text that is JSON is read."""
    if isinstance(value, str) and value[:1] in "{[":
        value = json.loads(value)
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {key: leaf for name, inner in items for key, leaf in flatten(inner, f"{prefix}/{name}").items()}
    return {prefix: value}


@pytest.mark.slow
def test_a_run_in_a_bucket_computes_what_a_local_one_does(bucket, tmp_path):
    import tensorflow as tf

    from components.cleaning_report.lookup import find_example

    with (ROOT / "data" / "sample" / "instructions.jsonl").open(encoding="utf-8") as file:
        (tmp_path / "records.jsonl").write_text("".join(next(file) for _ in range(NUM_RECORDS)), encoding="utf-8")
    sources = {
        "data/records.jsonl": tmp_path / "records.jsonl",
        **{f"preset/{p.relative_to(PRESET)}": p for p in PRESET.rglob("*") if p.is_file()},
    }
    for name, path in sources.items():
        tf.io.gfile.copy(str(path), f"{bucket.url}/{name}")

    config = make_config(f"{bucket.url}/data/records.jsonl", f"{bucket.url}/preset")
    there, addresses = run(config, f"{bucket.url}/base", tmp_path / "there", bucket.environment)
    assert there.keys() == NODES
    assert [address for address in addresses if not address.startswith(f"{bucket.url}/base/artifacts/places/")] == []
    version = there["Pusher"]["pushed_version"]
    assert there["Pusher"]["pushed_destination"] == f"{bucket.url}/base/serving/places/{version}"
    pushed = bucket.list_files(f"base/serving/places/{version}/")
    assert {"saved_model.pb", "assets.extra/model_card.json", "variables/variables.index"} < set(pushed)
    assert bucket.list_files("base/serving/places/.incoming") == []
    # What the report does not show is found in the bucket.
    (report,) = tf.io.gfile.glob(f"{bucket.url}/base/artifacts/places/CleaningReport/report/*/report.json")
    with tf.io.gfile.GFile(report) as file:
        content = json.load(file)
    example = content["examples"][0]
    found = find_example(content["source"], example["example_id"])
    assert (found["prompt"], found["tokens"]) == (example["prompt"], example["tokens"])
    # Nothing is left of local copies.
    assert list((tmp_path / "there" / "temp").glob("copy-*")) == []

    local, _ = run(
        make_config(str(tmp_path / "records.jsonl"), str(PRESET)), str(tmp_path / "here"), tmp_path / "here", {}
    )
    for node, names in COMPARED.items():
        found, expected = (flatten({name: outputs[node][name] for name in names}) for outputs in (there, local))
        assert found.keys() == expected.keys(), node
        for place, value in expected.items():
            # Threads of a training sum in any order.
            close = pytest.approx(value, rel=1e-4) if isinstance(value, float) else value
            assert found[place] == close, (node, place)
