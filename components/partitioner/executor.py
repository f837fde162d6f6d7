"""Executor of `Partitioner`: one Beam pass that cuts the training split into parts."""

import itertools
import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

import apache_beam as beam
import tensorflow as tf
from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_beam_executor
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils

from components.errors import UserError
from components.splits import (
    COUNTS,
    EVAL,
    TRAIN,
    ReadSplit,
    SumTuples,
    copy_split,
    list_target_columns,
    read_json,
    write_json,
)
from components.text import features
from components.text.hashing import hash_to_share


class Executor(base_beam_executor.BaseBeamExecutor):
    """Writes the parts as splits of their own, and the eval split as it was."""

    def Do(self, input_dict: dict[str, list], output_dict: dict[str, list], exec_properties: dict[str, Any]) -> None:  # noqa: N802
        """Writes the splits, counts them, and sets the counts on the artifact.

        Raises:
            UserError: If a part has no response token.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        source = artifact_utils.get_single_instance(input_dict["examples"])
        target = artifact_utils.get_single_instance(output_dict["parts"])
        shares: dict[str, float] = json.loads(exec_properties["shares"])
        seed = int(exec_properties["seed"])
        target.split_names = artifact_utils.encode_split_names([*shares, EVAL])
        examples_utils.set_payload_format(target, example_gen_pb2.FORMAT_TF_EXAMPLE)
        copy_split(source, EVAL, target)
        with self._make_beam_pipeline() as pipeline:
            parts = (
                pipeline
                | "Read" >> ReadSplit(source, TRAIN)
                | "Part" >> beam.ParDo(_PartDoFn(shares, seed)).with_outputs("counts", *shares)
            )
            for name in shares:
                _ = parts[name] | f"Write[{name}]" >> beam.io.WriteToTFRecord(
                    os.path.join(artifact_utils.get_split_uri([target], name), "examples"), file_name_suffix=".gz"
                )
            _ = (
                parts["counts"]
                | beam.CombinePerKey(SumTuples(len(COUNTS)))
                | beam.combiners.ToDict()
                | beam.Map(json.dumps)
                | beam.io.WriteToText(os.path.join(target.uri, "counts", "all"), ".json", shard_name_template="")
            )
        counts = {name: [0, 0] for name in shares} | read_json(os.path.join(target.uri, "counts", "all.json"))
        for name, (num_examples, num_tokens) in counts.items():
            if not num_tokens:
                raise UserError(
                    f"every part of the training split must have response tokens. Received: {num_examples} examples "
                    f"without any in {name} ({', '.join(f'{n}: {c[0]} examples' for n, c in counts.items())}). Lower "
                    "token_cleaning.parts, raise token_cleaning.reference.warmup_share, or give more data."
                )
            path = os.path.join(target.uri, "counts", f"{name}.json")
            write_json(path, dict(zip(COUNTS, (num_examples, num_tokens), strict=True)))
            target.set_int_custom_property(f"{name}_examples", num_examples)


class _PartDoFn(beam.DoFn):
    """Serialized example -> the output of its part; (part, (1, number of response tokens)) to `counts`."""

    def __init__(self, shares: Mapping[str, float], seed: int):
        self._shares = shares
        self._seed = seed

    def process(self, serialized: bytes) -> Iterator[Any]:
        example = tf.train.Example.FromString(serialized)
        part = assign_part(example.features.feature[features.EXAMPLE_ID].bytes_list.value[0], self._shares, self._seed)
        if part is not None:
            yield beam.pvalue.TaggedOutput(part, serialized)
            yield beam.pvalue.TaggedOutput("counts", (part, (1, len(list_target_columns(example)))))


def assign_part(example_id: bytes, shares: Mapping[str, float], seed: int) -> str | None:
    """Returns the part that an example belongs to: a hash of its id decides. None if the shares leave it out."""
    place = hash_to_share(f"{seed}\0".encode() + example_id)
    for name, end in zip(shares, itertools.accumulate(shares.values()), strict=True):
        # Shares such as 1/3 + 1/3 + 1/3 may sum to a little less than 1.
        if place < end or end > 1 - 1e-9:
            return name
    return None
