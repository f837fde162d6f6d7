"""The card of an exported folder says what the store says of the model: data by name, metrics with intervals, the verdict."""

import json

import yaml

from components.export.hugging_face.card import Data, Metric, render_card
from pipeline.lineage.export.card_facts import make_card_facts
from pipeline.lineage.export.subjects import find_model
from pipeline.lineage.trace import trace_artifact

CONFIG = """
text: {template: alpaca}
model: {preset: data/base/tiny, dtype: mixed_bfloat16}
method: {name: lora, rank: 4}
evaluation: {split: eval}
"""


def read_facts(store, run="run-1"):
    reader = store.reader()
    return make_card_facts(trace_artifact(reader, find_model(reader, run, None)))


def test_all_that_is_known(store):
    store.record_run(config=CONFIG, hardware="2 cores")
    facts = read_facts(store)
    assert (facts.name, facts.base_model, facts.template, facts.split) == (
        "tiny run-1",
        "data/base/tiny",
        "alpaca",
        "eval",
    )
    assert facts.method == {"name": "lora", "rank": 4}
    assert facts.training == {"seed": 7, "dtype": "mixed_bfloat16", "hardware": "2 cores"}
    rows = {"read": 100, "kept": 97, "quarantined": 3, "in train": 80, "in eval": 17}
    assert facts.data == (Data(name="sample.jsonl", sha256="a" * 64, rows=rows),)
    assert facts.metrics == (
        Metric(name="perplexity", slice_name="overall", value=11.25, low=10.5, high=12.25, before=30.5),
        Metric(name="perplexity", slice_name="kind=a", value=6.75, low=6.0, high=7.5),
    )
    assert facts.verdict == "blessed: better"
    assert facts.provenance["run"] == "run-1"
    assert facts.provenance["commit"] == "0123456789abcdef" * 2 + "01234567"
    assert facts.provenance["SHA-256 of the tuned weights"] == "d" * 64


def test_a_model_that_was_never_evaluated(store):
    store.start_run("run-2", pipeline_name="tiny", config="not: [yaml")
    model = store.artifact("Model", "Trainer/run-2", method="lora", preset="hf://a/b")
    store.execution("run-2", "Trainer", {}, {"model": model})
    facts = read_facts(store, "run-2")
    assert (facts.metrics, facts.verdict, facts.data, facts.method) == ((), "", (), {"name": "lora"})
    front = yaml.safe_load(render_card(facts).split("---\n")[1])
    assert front["base_model"] == "a/b"
    assert "model-index" not in front


def test_the_licence_is_that_of_the_base(store, tmp_path):
    base = tmp_path / "base"
    base.mkdir()
    (base / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    store.start_run("run-3", pipeline_name="tiny")
    store.execution(
        "run-3", "Trainer", {}, {"model": store.artifact("Model", "Trainer/run-3", method="full", preset=str(base))}
    )
    facts = read_facts(store, "run-3")
    assert facts.licence == "Apache-2.0"
    assert str(tmp_path) not in render_card(facts)
    assert json.dumps(facts.data) == "[]"
