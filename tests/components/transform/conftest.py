"""A real TFT pass over examples made in memory."""

import ast
import functools

import apache_beam as beam
import pytest
import tensorflow_transform.beam as tft_beam
from tfx_bsl.public import tfxio

from components.transform.module import preprocessing_fn
from pipeline.training_nodes import SCORED_SCHEMA, TOKENIZED_SCHEMA


@pytest.fixture
def apply_to_all(tmp_path, serialize):
    """Returns a function that analyses some examples (dicts of lists) and transforms all; gives the transformed batches.

    `analyze` says how many of the first ones are analysed, as a train split is before an eval split is transformed.
    """

    def run(examples, fn, schema, analyze=None):
        source = tfxio.TFExampleBeamRecord(physical_format="memory", schema=schema, telemetry_descriptors=["test"])
        records = [serialize(example) for example in examples]
        with beam.Pipeline() as pipeline, tft_beam.Context(temp_dir=str(tmp_path / "temp")):
            analyzed = pipeline | "Analyzed" >> beam.Create(records if analyze is None else records[:analyze])
            analyzed = analyzed | "AnalyzedBatches" >> source.BeamSource(batch_size=50)
            everything = pipeline | "All" >> beam.Create(records) | "Batches" >> source.BeamSource(batch_size=64)
            config = source.TensorAdapterConfig()
            transform_fn = (analyzed, config) | tft_beam.AnalyzeDataset(fn)
            dataset = ((everything, config), transform_fn) | tft_beam.TransformDataset(output_record_batches=True)
            _ = transform_fn | tft_beam.WriteTransformFn(str(tmp_path / "graph"))
            _ = (
                dataset[0]
                | beam.Map(lambda batch: repr(batch[0].to_pydict()))
                | beam.io.WriteToText(str(tmp_path / "out"), shard_name_template="")
            )
        return [ast.literal_eval(line) for line in (tmp_path / "out").read_text().splitlines()]

    return run


@pytest.fixture
def transform(apply_to_all, read_schema):
    """Returns a function from examples to (token ids, weights), by the preprocessing function and a committed schema."""

    def run(examples, cleaning=None, analyze=None):
        schema = read_schema(SCORED_SCHEMA if cleaning else TOKENIZED_SCHEMA)
        fn = functools.partial(preprocessing_fn, custom_config={"cleaning": cleaning})
        batches = apply_to_all(examples, fn, schema, analyze)
        return [row for batch in batches for row in zip(batch["token_ids"], batch["loss_weight"], strict=True)]

    return run


@pytest.fixture
def read_schema():
    from tfx.utils import io_utils

    return lambda path: io_utils.SchemaReader().read(str(path))
