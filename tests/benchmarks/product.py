"""The product's own scoring and cut, called on examples in memory."""

import functools
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import tensorflow as tf
import tensorflow_transform.beam as tft_beam
from apache_beam.options.pipeline_options import PipelineOptions
from harness import BEAM_ARGUMENTS
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.types import artifact_utils, standard_artifacts
from tfx.utils import io_utils
from tfx_bsl.public import tfxio

from components.splits import EVAL, TRAIN, read_records
from components.token_scorer.executor import Executor as TokenScorer
from components.transform.module import preprocessing_fn
from pipeline.training_nodes import SCORED_SCHEMA


def serialize(example_id: str, token_ids: Sequence[int], target_mask: Sequence[int]) -> bytes:
    """Returns a tokenized example."""
    example = tf.train.Example()
    example.features.feature["example_id"].bytes_list.value.append(example_id.encode())
    example.features.feature["token_ids"].int64_list.value.extend(token_ids)
    example.features.feature["target_mask"].int64_list.value.extend(target_mask)
    return example.SerializeToString()


def get_example_id(record: bytes) -> str:
    """Returns the id of a serialized example."""
    return tf.train.Example.FromString(record).features.feature["example_id"].bytes_list.value[0].decode()


def score(records: Sequence[bytes], scoring: dict[str, Any]) -> list[bytes]:
    """Returns tokenized examples as scored by the TokenScorer's executor, in their order.

    Args:
        records: Serialized examples with ids of their own.
        scoring: The component's `scoring`, without `split`.
    """
    with tempfile.TemporaryDirectory() as folder:
        source, target = standard_artifacts.Examples(), standard_artifacts.Examples()
        source.uri, target.uri = f"{folder}/tokenized", f"{folder}/scored"
        source.split_names = artifact_utils.encode_split_names([TRAIN, EVAL])
        for split, content in ((TRAIN, records), (EVAL, [])):
            path = Path(artifact_utils.get_split_uri([source], split))
            path.mkdir(parents=True)
            with tf.io.TFRecordWriter(str(path / "examples.gz"), "GZIP") as writer:
                for record in content:
                    writer.write(record)
        context = BaseBeamExecutor.Context(BEAM_ARGUMENTS, tmp_dir=folder, unique_id="1")
        properties = {"scoring": json.dumps({**scoring, "split": TRAIN})}
        TokenScorer(context).Do({"examples": [source]}, {"scored_examples": [target]}, properties)
        files = Path(artifact_utils.get_split_uri([target], TRAIN)).glob("*")
        scored = {get_example_id(record): record for file in files for record in read_records(str(file))}
    assert len(scored) == len(records), (len(scored), len(records))
    return [scored[get_example_id(record)] for record in records]


def cut(scored: Sequence[bytes], keep: float, scope: str) -> dict[str, list[float]]:
    """Returns the loss weights that the Transform's function gives scored examples, by their id."""
    schema = io_utils.SchemaReader().read(str(SCORED_SCHEMA))
    source = tfxio.TFExampleBeamRecord(physical_format="memory", schema=schema, telemetry_descriptors=["cut"])
    clean = functools.partial(preprocessing_fn, custom_config={"cleaning": {"keep": keep, "scope": scope}})
    with tempfile.TemporaryDirectory() as folder:
        pipeline = beam.Pipeline(options=PipelineOptions(BEAM_ARGUMENTS))
        with pipeline, tft_beam.Context(temp_dir=f"{folder}/temp"):
            batches = pipeline | beam.Create(list(scored)) | source.BeamSource(batch_size=1000)
            transformed, _ = (batches, source.TensorAdapterConfig()) | tft_beam.AnalyzeAndTransformDataset(
                clean, output_record_batches=True
            )
            _ = (
                transformed[0]
                | beam.Map(lambda batch: json.dumps(batch[0].to_pydict(), default=bytes.decode))
                | beam.io.WriteToText(f"{folder}/out", shard_name_template="")
            )
        found = [json.loads(line) for line in Path(f"{folder}/out").read_text().splitlines()]
    return {i[0]: w for b in found for i, w in zip(b["example_id"], b["loss_weight"], strict=True)}
