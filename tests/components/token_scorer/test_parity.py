"""Influence and kept tokens against numbers that PyTorch and transformers have computed. Neither is needed here."""

import functools
import json
from pathlib import Path

import apache_beam as beam
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform.beam as tft_beam
from tfx.utils import io_utils
from tfx_bsl.public import tfxio

from components.token_scorer.executor import add_influence
from components.token_scorer.handler import InfluenceModels, parse_example
from components.trainer.model import load_model
from components.transform.module import preprocessing_fn
from pipeline.training_nodes import SCORED_SCHEMA

PRESET = str(Path(__file__).resolve().parents[3] / "data" / "base" / "tiny_gpt2_en")
EMBEDDING_FACTOR = 1.05
# Printed by `python tests/benchmarks/token_cleaning_parity.py golden FOLDER`: token ids, and the influence of the response
# tokens, which stand at the end. If the built-in preset is trained anew, so are these.
GOLDEN = [
    ([4095, 1479, 1470, 25, 198, 1199, 365, 264, 3060, 283, 2651, 30, 198, 198, 1479, 1480, 25, 198, 902, 365, 1666, 13,
      4095],
     [0.012013, 0.088372, -0.135265, 0.018296, -0.019571]),
    ([4095, 1479, 1470, 25, 198, 3983, 2897, 273, 324, 30, 198, 198, 1479, 1478, 25, 198, 32, 77, 601, 2897, 258, 688,
      1066, 273, 2002, 13, 198, 198, 1479, 1480, 25, 198, 902, 316, 1895, 601, 4095],
     [0.00457, 0.137576, -0.242683, 0.005564, 0.004027]),
    ([4095, 1479, 1470, 25, 198, 49, 68, 380, 297, 264, 1117, 13, 198, 198, 1479, 1478, 25, 198, 954, 698, 442, 280,
      264, 3077, 198, 198, 1479, 1480, 25, 198, 627, 698, 442, 280, 264, 3319, 3319, 3077, 13, 4095],
     [0.067156, 0.048938, 0.105989, 0.046562, 0.211141, -0.077005, -0.041105, -0.108615, 0.017941, -0.023186]),
]  # fmt: skip
# Of the response tokens of all three, at `keep` 0.4. Also printed.
GOLDEN_KEPT = {
    "dataset": "01010010001111100000",
    "sample": "01010010101110100000",
}


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """The preset with its token embeddings, which are its output layer too, multiplied by a factor."""
    folder = str(tmp_path_factory.mktemp("reference") / "preset")
    model = load_model(PRESET)
    embeddings = model.backbone.token_embedding.embeddings
    embeddings.assign(embeddings * EMBEDDING_FACTOR)
    model.save_to_preset(folder)
    return folder


@pytest.fixture(scope="module")
def examples():
    parsed = []
    for i, (token_ids, influence) in enumerate(GOLDEN):
        record = tf.train.Example()
        mask = [0] * (len(token_ids) - len(influence)) + [1] * len(influence)
        record.features.feature["token_ids"].int64_list.value.extend(token_ids)
        record.features.feature["target_mask"].int64_list.value.extend(mask)
        record.features.feature["example_id"].bytes_list.value.append(f"golden{i}".encode())
        parsed.append(parse_example(record.SerializeToString()))
    return parsed


@pytest.fixture(scope="module")
def influence(reference, examples):
    # One batch of three lengths: PyTorch has seen them one by one and without padding.
    return InfluenceModels(PRESET, reference, "float32").score(examples)


def test_influence(influence):
    for ours, (_, theirs) in zip(influence, GOLDEN, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-4)


@pytest.mark.parametrize("scope", GOLDEN_KEPT)
def test_kept_tokens(influence, examples, scope, tmp_path):
    scored = [add_influence(example, values) for example, values in zip(examples, influence, strict=True)]
    weights = transform(scored, {"keep": 0.4, "scope": scope}, tmp_path)
    kept = ""
    for token_ids, values in GOLDEN:
        *prompt, response = np.split(np.array(weights[tuple(token_ids)]), [-len(values)])
        assert not np.any(prompt)
        kept += "".join(str(int(weight)) for weight in response)
    assert kept == GOLDEN_KEPT[scope]


def transform(scored, cleaning, folder):
    """Returns the loss weights that a TFT pass gives the examples, by their token ids."""
    schema = io_utils.SchemaReader().read(str(SCORED_SCHEMA))
    source = tfxio.TFExampleBeamRecord(physical_format="memory", schema=schema, telemetry_descriptors=["test"])
    fn = functools.partial(preprocessing_fn, custom_config={"cleaning": cleaning})
    with beam.Pipeline() as pipeline, tft_beam.Context(temp_dir=str(folder / "temp")):
        batches = pipeline | beam.Create(scored) | source.BeamSource(batch_size=2)
        transformed, _ = (batches, source.TensorAdapterConfig()) | tft_beam.AnalyzeAndTransformDataset(
            fn, output_record_batches=True
        )
        _ = (
            transformed[0]
            | beam.Map(lambda batch: json.dumps(batch[0].to_pydict(), default=bytes.decode))
            | beam.io.WriteToText(str(folder / "out"), shard_name_template="")
        )
    batches = [json.loads(line) for line in (folder / "out").read_text().splitlines()]
    return {tuple(i): w for b in batches for i, w in zip(b["token_ids"], b["loss_weight"], strict=True)}
