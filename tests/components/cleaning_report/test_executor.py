"""The report on a real transform graph, with the built-in base's tokenizer."""

import functools
import json
from pathlib import Path

import apache_beam as beam
import numpy as np
import pytest
import tensorflow_transform.beam as tft_beam
from tfx.types import standard_artifacts
from tfx.utils import io_utils
from tfx_bsl.public import tfxio

from components.cleaning_report.component import TokenCleaningReport
from components.cleaning_report.executor import Executor
from components.cleaning_report.lookup import find_example
from components.errors import UserError
from components.partitioner.executor import assign_part
from components.transform.module import preprocessing_fn
from pipeline.training_nodes import SCORED_SCHEMA

PRESET = str(Path(__file__).resolve().parents[3] / "data" / "base" / "tiny_gpt2_en")
WARMUP = {"shares": {"warmup": 0.5}, "seed": 1}


def make_examples():
    rng = np.random.default_rng(0)
    examples = []
    for i in range(120):
        influence = [0.0, *rng.normal(size=5).astype("float32").tolist()]
        examples.append(
            {
                "example_id": f"id{i:03}",
                "token_ids": [9, *rng.integers(300, 400, 5).tolist()],
                "target_mask": [0, 1, 1, 1, 1, 1],
                "token_influence": influence,
                "prompt": f"prompt {i}",
                "kind": "even" if i % 2 == 0 else "odd",
            }
        )
    return examples


@pytest.fixture
def graph(tmp_path, write_artifact):
    """Scored examples, and the graph of a Transform that has analysed them."""
    examples = make_examples()
    scored = write_artifact({"train": examples, "eval": []}, "scored")
    scored.set_string_custom_property("base", "the base")
    scored.set_string_custom_property("reference", "the reference")
    schema = io_utils.SchemaReader().read(str(SCORED_SCHEMA))
    source = tfxio.TFExampleRecord(
        file_pattern=f"{scored.uri}/Split-train/*", schema=schema, telemetry_descriptors=["test"]
    )
    artifact = standard_artifacts.TransformGraph()
    artifact.uri = str(tmp_path / "graph")
    fn = functools.partial(preprocessing_fn, custom_config={"cleaning": {"keep": 0.6, "scope": "dataset"}})
    with beam.Pipeline() as pipeline, tft_beam.Context(temp_dir=str(tmp_path / "temp")):
        data = pipeline | source.BeamSource()
        transform_fn = (data, source.TensorAdapterConfig()) | tft_beam.AnalyzeDataset(fn)
        _ = transform_fn | tft_beam.WriteTransformFn(artifact.uri)
    (Path(artifact.uri) / "metadata").mkdir(exist_ok=True)
    metadata = beam.Pipeline()
    with metadata:
        _ = (schema_metadata(schema)) | tft_beam.WriteMetadata(f"{artifact.uri}/metadata", pipeline=metadata)
    return examples, scored, artifact


def schema_metadata(schema):
    from tensorflow_transform.tf_metadata import dataset_metadata

    return dataset_metadata.DatasetMetadata(schema)


def run(scored, graph, report):
    settings = {"strategy": "fixed", "keep": 0.6, "scope": "dataset", "round": 2, "preset": PRESET}
    settings |= {"slice_columns": ["kind"], "warmup": WARMUP}
    inputs = {"scored_examples": [scored], "transform_graph": [graph]}
    Executor().Do(inputs, {"report": [report]}, {"settings": json.dumps(settings)})
    return json.loads((Path(report.uri) / "report.json").read_text())


def test_report_and_lookup(graph, empty_artifact):
    examples, scored, transform_graph = graph
    artifact = empty_artifact("report", TokenCleaningReport)
    report = run(scored, transform_graph, artifact)
    scores = np.concatenate([e["token_influence"][1:] for e in examples])
    assert (report["num_examples"], report["num_response_tokens"]) == (120, 600)
    assert report["num_kept_tokens"] == 360
    assert report["threshold"] == pytest.approx(np.sort(scores)[240], abs=1e-6)
    assert artifact.get_float_custom_property("kept_share") == 0.6
    assert artifact.get_int_custom_property("round") == 2
    assert artifact.get_string_custom_property("reference") == "the reference"
    assert artifact.get_float_custom_property("threshold") == report["threshold"]
    assert set(report["slices"]) == {"kind", "seen by the reference"}
    assert report["slices"]["kind"]["odd"]["examples"] == 60
    seen = sum(assign_part(e["example_id"].encode(), **WARMUP) == "warmup" for e in examples)
    assert report["slices"]["seen by the reference"]["yes"]["examples"] == seen

    # An example that the report does not show is found in the scored examples, and judged alike.
    shown = {e["example_id"]: e for e in report["examples"]}
    hidden = next(e for e in examples if e["example_id"] not in shown)
    found = find_example(report["source"], hidden["example_id"])
    assert found["prompt"] == hidden["prompt"]
    expected = [bool(np.float32(i) >= np.float32(report["threshold"])) for i in hidden["token_influence"][1:]]
    assert [t["kept"] for t in found["tokens"]] == expected
    first = report["examples"][0]
    again = find_example(report["source"], first["example_id"])
    assert again == {**first, "slices": {"kind": first["slices"]["kind"]}}
    assert find_example(report["source"], "nobody") is None


def test_no_kept_token_is_an_error(graph, empty_artifact, monkeypatch):
    _, scored, transform_graph = graph
    from components.cleaning_report.tokens import Cleaner

    describe = Cleaner._describe
    monkeypatch.setattr(Cleaner, "_describe", lambda self, record, weight: describe(self, record, [0.0] * len(weight)))
    with pytest.raises(UserError, match=r"0 of 600 response tokens kept.*token_cleaning\.keep"):
        run(scored, transform_graph, empty_artifact("report", TokenCleaningReport))
