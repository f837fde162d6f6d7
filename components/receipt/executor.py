"""Executor of `Receipt`: one Beam pass over each split that a training reads."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
from tfx.dsl.components.base import base_beam_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils

from components import storage
from components.errors import UserError
from components.local_copies import local_preset
from components.receipt.counting import Counts, count_rows, merge_counts
from components.receipt.report import find_row, make_report, summarize_split
from components.receipt.rows import SpecialTokens, parse_row
from components.receipt.rules import ERROR, Violation, find_violations
from components.receipt.tokens import find_special_tokens
from components.splits import ReadSplit, read_json, write_json
from components.text.model_tokenizer import load_tokenizer
from components.text.token_texts import TokenTexts

RECEIPT_NAME = "receipt.json"
_COUNTS_FOLDER = "counts"
# What of the figures stands on the artifact too.
_RECORDED = (
    "rows",
    "tokens",
    "supervised_tokens",
    "rows_without_supervised_token",
    "rows_cleaned_away",
    "rows_with_supervised_end_token",
    "rows_with_doubled_start_token",
    "rows_with_special_ids_in_text",
)
_BATCH_SIZE = 256


class _CountDoFn(beam.DoFn):
    """A batch of serialized transformed examples -> their `Counts`."""

    def __init__(self, tokens: SpecialTokens):
        self._tokens = tokens

    def process(self, records: Sequence[bytes]) -> Iterator[Counts]:
        yield count_rows(map(parse_row, records), self._tokens)


class Executor(base_beam_executor.BaseBeamExecutor):
    """Says what the loss will see."""

    def Do(self, input_dict: dict[str, list], output_dict: dict[str, list], exec_properties: dict[str, Any]) -> None:  # noqa: N802
        """Writes `receipt.json` and sets the figures of the training split on the artifact.

        Raises:
            UserError: If a rule of level `error` is broken. The receipt is in the settings' `copy_folder` then.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        examples = artifact_utils.get_single_instance(input_dict["examples"])
        artifact = artifact_utils.get_single_instance(output_dict["receipt"])
        settings = json.loads(exec_properties["settings"])
        tokens, texts = load_tokens(settings["preset"], settings["text"])
        max_length = settings["text"]["max_length"]
        with self._make_beam_pipeline() as pipeline:
            for split in _list_splits(settings):
                _ = (
                    pipeline
                    | f"Read[{split}]" >> ReadSplit(examples, split)
                    | f"Batch[{split}]" >> beam.BatchElements(min_batch_size=_BATCH_SIZE, max_batch_size=_BATCH_SIZE)
                    | f"Count[{split}]" >> beam.ParDo(_CountDoFn(tokens))
                    | f"Merge[{split}]" >> beam.CombineGlobally(merge_counts)
                    | f"Format[{split}]"
                    >> beam.Map(lambda counts: json.dumps(summarize_split(counts, max_length), allow_nan=False))
                    | f"Write[{split}]" >> beam.io.WriteToText(_get_path(artifact.uri, split), shard_name_template="")
                )
        splits = {split: read_json(_get_path(artifact.uri, split)) for split in _list_splits(settings)}
        fileio.rmtree(os.path.join(artifact.uri, _COUNTS_FOLDER))
        violations = check(splits, settings["rules"], max_length)
        facts = {"preset": settings["preset"], "text": settings["text"], "rules": settings["rules"]}
        facts |= dict(zip(("train_split", "eval_split"), splits, strict=True))
        report = make_report(facts, splits, violations, tokens, texts)
        write_json(os.path.join(artifact.uri, RECEIPT_NAME), report)
        set_properties(artifact, report)
        if any(violation.level == ERROR for violation in violations):
            raise UserError(explain(violations, self._keep_copy(report, settings["copy_folder"])))

    def _keep_copy(self, report: Mapping[str, Any], folder: str) -> str:
        """TFX deletes the outputs of a failed node; returns where the receipt stays, or "" if nobody asked for that."""
        if not folder:
            return ""
        context = self._context
        name = f"{context.pipeline_run_id}.{context.pipeline_node.node_info.id}" if context else "receipt"
        path = f"{folder.rstrip('/')}/{name}.json"
        storage.write_text(path, json.dumps(report, indent=1))  # whole: `receipt` reads all that are there
        return path


def check(
    splits: Mapping[str, Mapping[str, Any]], rules: Mapping[str, Mapping[str, Any]], max_length: int
) -> list[Violation]:
    """Returns the rules that the splits break.

    Args:
        splits: See `components.receipt.report.summarize_split`.
        rules: The run's section `receipt`.
        max_length: `text.max_length`.
    """
    return [
        violation
        for split, summary in splits.items()
        for violation in find_violations(
            split,
            summary["figures"],
            lambda rule, summary=summary: (find_row(summary, rule) or {}).get("example_id", ""),  # type: ignore[misc]
            rules,
            max_length,
        )
    ]


def explain(violations: Sequence[Violation], copy: str) -> str:
    """Returns the message of a run that stops.

    Args:
        violations: All that is broken; of these, what is only warned of does not stop the run.
        copy: Where the receipt stays; "" if nowhere.
    """
    broken = [violation for violation in violations if violation.level == ERROR]
    num_rules = len({violation.rule for violation in broken})  # both splits may break the same one
    many = f"{num_rules} rules" if num_rules > 1 else "a rule"
    lines = [f"what the loss would see breaks {many}; nothing was trained."]
    lines += [f"  {violation.rule}: {violation.message}" for violation in broken]
    if copy:
        lines.append(f"With examples and their mask: python -m pipeline receipt {copy}")
    return "\n".join(lines)


def load_tokens(preset: str, text: Mapping[str, Any]) -> tuple[SpecialTokens, TokenTexts]:
    """Returns the special tokens of a preset's tokenizer under a run's `text` section, and the texts of all."""
    with local_preset(preset, with_weights=False) as source:
        tokenizer = load_tokenizer(source)
        return find_special_tokens(tokenizer, source, text), TokenTexts(tokenizer)


def set_properties(artifact: Any, report: Mapping[str, Any]) -> None:
    """Sets the figures of the training split on the artifact."""
    train, evaluation = (report["splits"][report[name]] for name in ("train_split", "eval_split"))
    counts = {name: train[name] for name in _RECORDED} | {
        "rows_truncated": train["truncated"]["rows"],
        "eval_rows": evaluation["rows"],
        "eval_supervised_tokens": evaluation["supervised_tokens"],
    }
    for name, value in counts.items():
        artifact.set_int_custom_property(name, value)
    warnings = dict.fromkeys(violation["rule"] for violation in report["violations"])
    artifact.set_string_custom_property("split", report["train_split"])
    artifact.set_string_custom_property("warnings", ", ".join(warnings))


def _list_splits(settings: Mapping[str, Any]) -> tuple[str, str]:
    return settings["train_split"], settings["eval_split"]


def _get_path(uri: str, split: str) -> str:
    return os.path.join(uri, _COUNTS_FOLDER, f"{split}.json")
