"""Executor of `TokenScorer`: one Beam pass over the split that is to be cleaned; the eval split is copied as it is."""

import hashlib
import json
import os
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow as tf
from apache_beam.ml.inference.base import PredictionResult, RunInference
from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_beam_executor
from tfx.dsl.io import fileio
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils

from components.errors import UserError
from components.splits import COUNTS, EVAL, TRAIN, ReadSplit, WriteCounts, copy_split, read_json
from components.text import features
from components.token_scorer.handler import BatchByLength, InfluenceHandler, ScoringExample, parse_example
from components.token_scorer.progress import ScoringProgress
from components.trainer.directories import find_preset


class _AddInfluence(beam.DoFn):
    """A scored batch -> serialized examples (main output), `COUNTS` of each (output `counts`)."""

    def __init__(self, num_examples: int | None):
        self._num_examples = num_examples

    def setup(self) -> None:
        self._progress = ScoringProgress(self._num_examples)

    def process(self, result: PredictionResult) -> Iterator[Any]:
        examples: list[ScoringExample] = result.example
        for example, influence in zip(examples, result.inference, strict=True):
            yield add_influence(example, influence)
            yield beam.pvalue.TaggedOutput("counts", (1, len(influence)))
        self._progress.advance(len(examples), sum(len(influence) for influence in result.inference))

    def teardown(self) -> None:
        self._progress.close()


class _DrawInfluence(beam.DoFn):
    """The control arm: serialized examples with random numbers, the same for one example and seed on every run."""

    def __init__(self, seed: int):
        self._seed = seed

    def process(self, serialized: bytes) -> Iterator[Any]:
        example = parse_example(serialized)
        influence = draw_influence(example, self._seed)
        yield add_influence(example, influence)
        yield beam.pvalue.TaggedOutput("counts", (1, len(influence)))


class Executor(base_beam_executor.BaseBeamExecutor):
    """Adds `token_influence` to one split of tokenized examples."""

    def Do(self, input_dict: dict[str, list], output_dict: dict[str, list], exec_properties: dict[str, Any]) -> None:  # noqa: N802
        """Writes the splits `train` (scored) and `eval` (as it was), and sets the counts on the artifact.

        Raises:
            UserError: If there is no response token to score, or the models do not fit each other.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        source = artifact_utils.get_single_instance(input_dict["examples"])
        target = artifact_utils.get_single_instance(output_dict["scored_examples"])
        scoring = json.loads(exec_properties["scoring"])
        target.split_names = artifact_utils.encode_split_names([TRAIN, EVAL])
        examples_utils.set_payload_format(target, example_gen_pb2.FORMAT_TF_EXAMPLE)
        copy_split(source, EVAL, target)
        reference = find_reference(input_dict, scoring["reference"])
        counts_path = os.path.join(target.uri, "counts", TRAIN)
        with self._make_beam_pipeline() as pipeline:
            records = pipeline | "Read" >> ReadSplit(source, scoring["split"])
            if scoring["strategy"] == "random":
                draw = beam.ParDo(_DrawInfluence(scoring["seed"]))
                scored = records | "Draw" >> draw.with_outputs("counts", main="examples")
            else:
                handler = InfluenceHandler(scoring["base"], reference, scoring["dtype"])
                num_examples = read_count(source, scoring["split"])
                scored = (
                    records
                    | "Batch" >> beam.ParDo(BatchByLength(scoring["batch_size"]))
                    | "Score" >> RunInference(handler)
                    | "Add" >> beam.ParDo(_AddInfluence(num_examples)).with_outputs("counts", main="examples")
                )
            _ = scored.examples | "Write" >> beam.io.WriteToTFRecord(
                os.path.join(artifact_utils.get_split_uri([target], TRAIN), "examples"), file_name_suffix=".gz"
            )
            _ = scored.counts | "WriteCounts" >> WriteCounts(COUNTS, counts_path)
        counts = read_json(f"{counts_path}.json")
        if not counts["target_tokens"]:
            raise UserError(
                f"token cleaning needs response tokens to score. Received: {counts['examples']} examples without any in "
                f"{scoring['split']}. Check `data.columns`, raise text.max_length, or lower token_cleaning.parts."
            )
        for name in COUNTS:
            target.set_int_custom_property(name, counts[name])
        target.set_string_custom_property("base", scoring["base"])
        target.set_string_custom_property("reference", reference)


def add_influence(example: ScoringExample, influence: np.ndarray) -> bytes:
    """Returns the serialized example with `token_influence`: the scores in the places of the targets, 0 elsewhere."""
    scores = np.zeros(len(example.token_ids), np.float32)
    scores[example.target_columns] = influence
    result = tf.train.Example.FromString(example.serialized)
    result.features.feature[features.TOKEN_INFLUENCE].float_list.value[:] = scores
    return result.SerializeToString(deterministic=True)


def draw_influence(example: ScoringExample, seed: int) -> np.ndarray:
    """Returns uniform random numbers in [0, 1), float32 (number of targets,), that depend on the example and the seed."""
    digest = hashlib.sha256(f"{seed}\0".encode() + _key(example)).digest()
    generator = np.random.default_rng(int.from_bytes(digest[:16], "big"))
    return generator.random(len(example.target_columns), np.float32)


def find_reference(input_dict: dict[str, list], preset: str) -> str:
    """Returns the preset of the reference model: that of the Model artifact if there is one, else `preset`."""
    if models := input_dict.get("reference_model"):
        return find_preset(artifact_utils.get_single_instance(models).uri)
    return preset


def read_count(source: Any, split: str) -> int | None:
    """Returns how many examples a split has, if the component that wrote it has counted them."""
    path = os.path.join(source.uri, "counts", f"{split}.json")
    counts = read_json(path) if fileio.exists(path) else {}
    return counts.get("examples")


def _key(example: ScoringExample) -> bytes:
    values = tf.train.Example.FromString(example.serialized).features.feature[features.EXAMPLE_ID].bytes_list.value
    return values[0] if values else example.token_ids.tobytes()
