"""Executor of `CleaningReport`: one Beam pass over the scored examples."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
from tfx.dsl.components.base import base_beam_executor
from tfx.types import artifact_utils

from components.cleaning_report.report import make_report
from components.cleaning_report.summary import Summary, merge, summarize
from components.cleaning_report.tokens import Cleaner
from components.errors import UserError
from components.local_copies import local_preset
from components.partitioner.executor import assign_part
from components.splits import TRAIN, ReadSplit, read_json
from components.text.model_tokenizer import load_tokenizer
from components.text.token_texts import TokenTexts

REPORT_NAME = "report.json"
# What of a report stands on its artifact as well.
FIGURES = (
    "strategy",
    "scope",
    "round",
    "base",
    "reference",
    "keep",
    "kept_share",
    "threshold",
    "rank_error_bound",
    "num_examples",
    "num_examples_without_target",
    "num_response_tokens",
    "num_kept_tokens",
)
_BATCH_SIZE = 256
# A column of the report's own: whether the reference model was trained on an example.
_SEEN_COLUMN = "seen by the reference"


class _CountDoFn(beam.DoFn):
    """A batch of serialized scored examples -> its `Summary`."""

    def __init__(self, source: dict[str, Any], warmup: dict[str, Any] | None):
        self._source = source
        self._warmup = warmup

    def setup(self) -> None:
        self._clean = Cleaner(self._source["transform_graph"], self._source["slice_columns"])

    def process(self, records: Sequence[bytes]) -> Iterator[Summary]:
        examples = self._clean(records)
        if self._warmup:
            for example in examples:
                part = assign_part(example.example_id.encode(), self._warmup["shares"], self._warmup["seed"])
                example.slices[_SEEN_COLUMN] = "yes" if part else "no"
        yield summarize(examples)


class _FormatDoFn(beam.DoFn):
    """The `Summary` of all -> the report as JSON."""

    def __init__(self, source: dict[str, Any], facts: dict[str, Any]):
        self._source = source
        self._facts = facts

    def process(self, summary: Summary) -> Iterator[str]:
        texts = load_texts(self._source["preset"])
        yield json.dumps({**self._facts, **make_report(summary, texts), "source": self._source}, allow_nan=False)


class Executor(base_beam_executor.BaseBeamExecutor):
    """Says what the cut kept."""

    def Do(self, input_dict: dict[str, list], output_dict: dict[str, list], exec_properties: dict[str, Any]) -> None:  # noqa: N802
        """Writes `report.json` and sets its figures on the artifact.

        Raises:
            UserError: If no token is left as a training target.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        scored = artifact_utils.get_single_instance(input_dict["scored_examples"])
        graph = artifact_utils.get_single_instance(input_dict["transform_graph"])
        artifact = artifact_utils.get_single_instance(output_dict["report"])
        settings = json.loads(exec_properties["settings"])
        source = {
            "scored_examples": scored.uri,
            "transform_graph": graph.uri,
            "split": TRAIN,
            "preset": settings["preset"],
            "slice_columns": settings["slice_columns"],
        }
        facts = {
            "base": scored.get_string_custom_property("base"),
            "reference": scored.get_string_custom_property("reference"),
            **{name: settings[name] for name in ("strategy", "keep", "scope", "round")},
        }
        with self._make_beam_pipeline() as pipeline:
            _ = (
                pipeline
                | "Read" >> ReadSplit(scored, TRAIN)
                | beam.BatchElements(min_batch_size=_BATCH_SIZE, max_batch_size=_BATCH_SIZE)
                | "Count" >> beam.ParDo(_CountDoFn(source, settings["warmup"]))
                | "Merge" >> beam.CombineGlobally(merge)
                | "Format" >> beam.ParDo(_FormatDoFn(source, facts))
                | beam.io.WriteToText(os.path.join(artifact.uri, REPORT_NAME), shard_name_template="")
            )
        report = read_json(os.path.join(artifact.uri, REPORT_NAME))
        set_properties(artifact, report)
        if not report["num_kept_tokens"]:
            raise UserError(
                f"token cleaning must leave training targets. Received: 0 of {report['num_response_tokens']} response "
                f"tokens kept. Raise token_cleaning.keep ({report['keep']}), or give more data."
            )


def set_properties(artifact: Any, report: Mapping[str, Any]) -> None:
    """Sets the report's figures on its artifact, where lineage finds them; none where a strategy has none."""
    for name in FIGURES:
        value = report.get(name)
        if isinstance(value, str):
            artifact.set_string_custom_property(name, value)
        elif isinstance(value, float):
            artifact.set_float_custom_property(name, value)
        elif value is not None:
            artifact.set_int_custom_property(name, value)


def load_texts(preset: str) -> TokenTexts:
    """Returns the texts of the tokens of a preset's tokenizer."""
    with local_preset(preset, with_weights=False) as source:
        return TokenTexts(load_tokenizer(source))
