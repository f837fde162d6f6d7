"""The preprocessing function in a real TFT pass, with the committed schema."""

import ast

import apache_beam as beam
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from tfx.utils import io_utils
from tfx_bsl.public import tfxio

from components.transform.module import preprocessing_fn
from pipeline.pipeline import TOKENIZED_SCHEMA


def test_weights_follow_the_mask_and_names_are_those_of_the_contract(tmp_path):
    records = []
    for ids, mask in ([5, 0, 7], [0, 1, 1]), ([9, 8], [0, 1]):
        example = tf.train.Example()
        example.features.feature["token_ids"].int64_list.value.extend(ids)
        example.features.feature["target_mask"].int64_list.value.extend(mask)
        example.features.feature["prompt"].bytes_list.value.append(b"carried along elsewhere")
        records.append(example.SerializeToString())
    schema = io_utils.SchemaReader().read(str(TOKENIZED_SCHEMA))
    source = tfxio.TFExampleBeamRecord(physical_format="memory", schema=schema, telemetry_descriptors=["test"])
    with beam.Pipeline() as pipeline, tft_beam.Context(temp_dir=str(tmp_path / "temp")):
        batches = pipeline | beam.Create(records) | source.BeamSource()
        dataset, transform_fn = (batches, source.TensorAdapterConfig()) | tft_beam.AnalyzeAndTransformDataset(
            preprocessing_fn, output_record_batches=True
        )
        _ = transform_fn | tft_beam.WriteTransformFn(str(tmp_path / "graph"))
        _ = (
            dataset[0]
            | beam.Map(lambda batch: batch[0].to_pydict())
            | beam.Map(repr)
            | beam.io.WriteToText(str(tmp_path / "out"), shard_name_template="")
        )
    lines = [ast.literal_eval(line) for line in (tmp_path / "out").read_text().splitlines()]
    rows = [row for batch in lines for row in zip(batch["token_ids"], batch["loss_weight"], strict=True)]
    assert sorted(rows) == [([5, 0, 7], [0.0, 1.0, 1.0]), ([9, 8], [0.0, 1.0])]
    spec = tft.TFTransformOutput(str(tmp_path / "graph")).transformed_feature_spec()
    assert spec == {
        "token_ids": tf.io.VarLenFeature(tf.int64),
        "loss_weight": tf.io.VarLenFeature(tf.float32),
    }
