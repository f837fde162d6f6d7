"""Executor of `Tokenizer`: one Beam pass a split, with counts of what truncation took away."""

import functools
import json
import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
import tensorflow as tf
from apache_beam.utils import shared
from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_beam_executor
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils

from components.errors import UserError
from components.local_copies import local_preset
from components.splits import WriteCounts, read_json, write_json
from components.text import features
from components.text.answer_spans import ALL_TURNS
from components.text.chat_template import RefusedConversationError
from components.text.cleaning import KINDS, get_level
from components.text.hashing import hash_to_share
from components.text.model_tokenizer import load_tokenizer
from components.text.template_choice import load_template
from components.text.tokenization import RecordTokenizer, TokenizedRecord

REPORT_NAME = "tokenizer_report.json"
_REPLACED = (features.INSTRUCTION, features.INPUT, features.OUTPUT, features.MESSAGES)
_COUNTS = (
    "examples",
    "tokens",
    "target_tokens",
    "examples_truncated",
    "prompt_tokens_cut",
    "response_tokens_cut",
    "examples_empty",
    "special_tokens_neutralized",
    "examples_refused",
    "last_turn_only",
    "examples_cleaned",
)
LENGTH_BINS = 16
# Why conversations were refused by the chat template, or trained on their last turn alone; as keys of the report.
_REASONS = ("refused", "last_turn_only")
_REASON_CHARACTERS = 300
_SHOWN = 5  # reasons that an error or the log shows
# Of each kind of change by cleaning: examples in the report, and characters of one on either side of its first change.
_SHOWN_CHANGES, _CHARACTERS_BEFORE, _CHARACTERS_BEHIND = 3, 30, 50
_LENGTHS = tuple(f"{part}_{i}" for part in ("prompt", "response") for i in range(LENGTH_BINS))


class _TokenizeDoFn(beam.DoFn):
    """Serialized raw example -> serialized tokenized example.

    Further outputs: tuples of counts (`counts`, `lengths`); why the chat template could not be followed, pairs of a key of `_REASONS` and a
    text (`reasons`); what cleaning has changed, pairs of the kind and the text before and after (`changes`).
    """

    def __init__(self, preset: str, text: dict[str, Any], handle: shared.Shared):
        self._preset = preset
        self._text = text
        self._handle = handle

    def setup(self) -> None:
        self._tokenize: RecordTokenizer = self._handle.acquire(
            functools.partial(make_record_tokenizer, self._preset, self._text)
        )

    def process(self, serialized: bytes) -> Iterator[Any]:
        example = tf.train.Example.FromString(serialized)
        values = example.features.feature
        record = {name: values[name].bytes_list.value[0].decode() for name in _REPLACED if name in values}
        try:
            tokenized = self._tokenize(record)
        except RefusedConversationError as error:
            yield beam.pvalue.TaggedOutput("counts", tuple(int(name == "examples_refused") for name in _COUNTS))
            yield beam.pvalue.TaggedOutput("reasons", ("refused", str(error)[:_REASON_CHARACTERS]))
            return
        yield beam.pvalue.TaggedOutput("counts", _count(tokenized))
        if tokenized is not None:
            for kind, change in tokenized.changes.items():
                yield beam.pvalue.TaggedOutput("changes", (kind, _cut_change(*change)))
            if tokenized.note:
                yield beam.pvalue.TaggedOutput("reasons", ("last_turn_only", tokenized.note[:_REASON_CHARACTERS]))
            yield beam.pvalue.TaggedOutput("lengths", _count_lengths(tokenized, self._text["max_length"]))
            yield _to_example(tokenized, example).SerializeToString(deterministic=True)


class Executor(base_beam_executor.BaseBeamExecutor):
    """Tokenizes every split of the input examples."""

    def Do(self, input_dict: dict[str, list], output_dict: dict[str, list], exec_properties: dict[str, Any]) -> None:  # noqa: N802
        """Writes the tokenized splits and `tokenizer_report.json`, and sets its totals on the artifact.

        The report holds the counts of each split; its `reasons`: why conversations were refused by the chat template, or are
        trained on their last turn alone, with how often; and `cleaning`: by kind of change, how many examples have it and some of them.

        `lengths/<split>.json` says how many prompts and responses have which length, in `LENGTH_BINS` bins of equal width from
        0 to `text.max_length` tokens, after truncation.

        Raises:
            UserError: If more than `text.max_truncated_fraction` of the examples had to be truncated, the chat template refuses
                more than `text.max_refused_fraction` of them, or none is left.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        source = artifact_utils.get_single_instance(input_dict["examples"])
        target = artifact_utils.get_single_instance(output_dict["tokenized_examples"])
        splits = artifact_utils.decode_split_names(source.split_names)
        text = json.loads(exec_properties["text"])
        target.split_names = artifact_utils.encode_split_names(splits)
        examples_utils.set_payload_format(target, example_gen_pb2.FORMAT_TF_EXAMPLE)
        with self._make_beam_pipeline() as pipeline:
            for split in splits:
                tokenized = (
                    pipeline
                    | f"Read[{split}]"
                    >> beam.io.ReadFromTFRecord(
                        os.path.join(artifact_utils.get_split_uri([source], split), "*"), validate=False
                    )
                    | f"Tokenize[{split}]"
                    >> beam.ParDo(_TokenizeDoFn(exec_properties["preset"], text, shared.Shared())).with_outputs(
                        "counts", "lengths", "reasons", "changes", main="examples"
                    )
                )
                _ = tokenized.examples | f"Write[{split}]" >> beam.io.WriteToTFRecord(
                    os.path.join(artifact_utils.get_split_uri([target], split), "examples"), file_name_suffix=".gz"
                )
                _ = tokenized.counts | f"WriteCounts[{split}]" >> WriteCounts(
                    _COUNTS, os.path.join(target.uri, "counts", split)
                )
                _ = tokenized.lengths | f"WriteLengths[{split}]" >> WriteCounts(
                    _LENGTHS, os.path.join(target.uri, "lengths", split)
                )
                _ = (
                    tokenized.reasons
                    | f"CountReasons[{split}]" >> beam.combiners.Count.PerElement()
                    | f"ListReasons[{split}]" >> beam.combiners.ToList()
                    | f"FormatReasons[{split}]" >> beam.Map(_format_reasons)
                    | f"WriteReasons[{split}]"
                    >> beam.io.WriteToText(
                        os.path.join(target.uri, "reasons", split), shard_name_template="", file_name_suffix=".json"
                    )
                )
                _ = (
                    tokenized.changes
                    | f"CountChanges[{split}]" >> beam.CombinePerKey(_CountChanges())
                    | f"ListChanges[{split}]" >> beam.combiners.ToList()
                    | f"FormatChanges[{split}]" >> beam.Map(_format_changes)
                    | f"WriteChanges[{split}]"
                    >> beam.io.WriteToText(
                        os.path.join(target.uri, "changes", split), shard_name_template="", file_name_suffix=".json"
                    )
                )
        report = {split: read_json(os.path.join(target.uri, "counts", f"{split}.json")) for split in splits}
        changes = {split: read_json(os.path.join(target.uri, "changes", f"{split}.json")) for split in splits}
        reasons = {split: read_json(os.path.join(target.uri, "reasons", f"{split}.json")) for split in splits}
        write_json(
            os.path.join(target.uri, REPORT_NAME),
            {split: {**report[split], "reasons": reasons[split], "cleaning": changes[split]} for split in splits},
        )
        totals = {name: sum(counts[name] for counts in report.values()) for name in _COUNTS}
        for name, value in totals.items():
            target.set_int_custom_property(name, value)
        logging.info("Tokenized: %s", report)
        _tell_last_turn_only(totals, _add_up(reasons.values(), "last_turn_only"))
        _check_refused(totals, _add_up(reasons.values(), "refused"), text)
        _check(totals, text)


def make_record_tokenizer(preset: str, text: dict[str, Any]) -> RecordTokenizer:
    """Returns the tokenizer of `preset` with the template of the `text` section."""
    with local_preset(preset, with_weights=False) as source:
        tokenizer = load_tokenizer(source)
        template = load_template(text, source)
    train_on = text.get("train_on", ALL_TURNS)
    return RecordTokenizer(tokenizer, template, text["system"], text["max_length"], train_on, get_level(text))


def _count(tokenized: TokenizedRecord | None) -> tuple[int, ...]:
    if tokenized is None:
        return tuple(int(name == "examples_empty") for name in _COUNTS)
    cut = (tokenized.prompt_tokens_cut, tokenized.response_tokens_cut)
    return (
        1,
        len(tokenized.token_ids),
        sum(tokenized.target_mask),
        int(any(cut)),
        *cut,
        0,
        tokenized.neutralized,
        0,
        int(bool(tokenized.note)),
        int(bool(tokenized.changes)),
    )


def _count_lengths(tokenized: TokenizedRecord, max_length: int) -> tuple[int, ...]:
    response = sum(tokenized.target_mask)
    counts = [0] * len(_LENGTHS)
    for part, length in enumerate((len(tokenized.token_ids) - response, response)):
        counts[part * LENGTH_BINS + min(length * LENGTH_BINS // max_length, LENGTH_BINS - 1)] = 1
    return tuple(counts)


def _to_example(tokenized: TokenizedRecord, source: tf.train.Example) -> tf.train.Example:
    result = tf.train.Example()
    for name, value in source.features.feature.items():
        if name not in _REPLACED:
            result.features.feature[name].CopyFrom(value)
    out = result.features.feature
    out[features.TOKEN_IDS].int64_list.value.extend(tokenized.token_ids)
    out[features.TARGET_MASK].int64_list.value.extend(tokenized.target_mask)
    out[features.LENGTH].int64_list.value.append(len(tokenized.token_ids))
    out[features.PROMPT_LENGTH].int64_list.value.append(tokenized.num_prompt_tokens)
    out[features.TOKENS_CUT].int64_list.value.extend([tokenized.prompt_tokens_cut, tokenized.response_tokens_cut])
    out[features.TEMPLATE_SPECIALS].int64_list.value.append(tokenized.template_specials)
    out[features.PROMPT].bytes_list.value.append(tokenized.prompt.encode())
    out[features.RESPONSE].bytes_list.value.append(tokenized.response.encode())
    return result


class _CountChanges(beam.CombineFn):
    """Texts before and after a change -> how many, and some of them: the same ones whatever the order."""

    def create_accumulator(self) -> tuple[int, list[tuple[str, str]]]:
        return 0, []

    def add_input(
        self, accumulator: tuple[int, list[tuple[str, str]]], change: tuple[str, str]
    ) -> tuple[int, list[tuple[str, str]]]:
        return accumulator[0] + 1, self._choose([*accumulator[1], change])

    def merge_accumulators(
        self, accumulators: Iterable[tuple[int, list[tuple[str, str]]]]
    ) -> tuple[int, list[tuple[str, str]]]:
        count = 0
        changes: list[tuple[str, str]] = []
        for one, some in accumulators:
            count += one
            changes = self._choose([*changes, *some])
        return count, changes

    def extract_output(self, accumulator: tuple[int, list[tuple[str, str]]]) -> dict[str, Any]:
        return {"examples": accumulator[0], "shown": [list(change) for change in accumulator[1]]}

    @staticmethod
    def _choose(changes: list[tuple[str, str]]) -> list[tuple[str, str]]:
        return sorted(set(changes), key=lambda change: hash_to_share("\0".join(change).encode()))[:_SHOWN_CHANGES]


def _cut_change(before: str, after: str) -> tuple[str, str]:
    """Returns what stands around the first difference of two texts."""
    place = next(
        (i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), min(len(before), len(after))
    )
    start = max(place - _CHARACTERS_BEFORE, 0)
    return before[start : place + _CHARACTERS_BEHIND], after[start : place + _CHARACTERS_BEHIND]


def _format_changes(counted: list[tuple[str, dict[str, Any]]]) -> str:
    """Returns, as JSON, the changes by kind, in the order of `KINDS`."""
    by_kind = dict(counted)
    return json.dumps({kind: by_kind[kind] for kind in KINDS if kind in by_kind})


def _format_reasons(counted: list[tuple[tuple[str, str], int]]) -> str:
    """Returns, as JSON, the texts and their numbers by key of `_REASONS`, the most frequent ones first."""
    ordered = sorted(counted, key=lambda entry: (-entry[1], entry[0]))
    return json.dumps({name: {text: n for (key, text), n in ordered if key == name} for name in _REASONS})


def _add_up(reasons: Iterable[dict[str, dict[str, int]]], key: str) -> str:
    """Returns the most frequent reasons of all splits in words."""
    total: Counter[str] = Counter()
    for by_key in reasons:
        total.update(by_key[key])
    more = f"; and {len(total) - _SHOWN} more" if len(total) > _SHOWN else ""
    return "; ".join(f"{text} ({n} times)" for text, n in total.most_common(_SHOWN)) + more


def _tell_last_turn_only(totals: dict[str, int], reasons: str) -> None:
    if totals["last_turn_only"]:
        logging.warning(
            "%d of %d conversations are trained on their last turn alone, though text.train_on asks for all: %s. Name a template "
            "that shows every turn alike in text.template, or a chat_template.jinja with {%% generation %%} in the preset, to train "
            "on all of them.",
            totals["last_turn_only"],
            totals["examples"],
            reasons,
        )


def _check_refused(totals: dict[str, int], reasons: str, text: dict[str, Any]) -> None:
    refused, limit = totals["examples_refused"], text.get("max_refused_fraction", 0.01)
    total = totals["examples"] + totals["examples_empty"] + refused
    if refused and refused / total > limit:
        raise UserError(
            f"the chat template may refuse at most {limit:.1%} of the examples (text.max_refused_fraction). It refuses {refused} "
            f"of {total} ({refused / total:.1%}): {reasons}. Mend the records (a role that the template does not know, turns that "
            "do not alternate), name another template in text.template, or raise text.max_refused_fraction to go on without them."
        )
    if refused:
        logging.warning("The chat template refuses %d of %d examples, which are left out: %s.", refused, total, reasons)


def _check(totals: dict[str, int], text: dict[str, Any]) -> None:
    if not totals["examples"]:
        raise UserError(
            f"at least one example must have a response once it is cleaned. All {totals['examples_empty']} were empty: "
            "check `data.columns`."
        )
    fraction = totals["examples_truncated"] / totals["examples"]
    if fraction > text["max_truncated_fraction"]:
        raise UserError(
            f"at most {text['max_truncated_fraction']:.1%} of the examples may be truncated to text.max_length = "
            f"{text['max_length']} tokens (text.max_truncated_fraction). Received: {totals['examples_truncated']} of "
            f"{totals['examples']} ({fraction:.1%}), which lose {totals['prompt_tokens_cut']} prompt tokens and "
            f"{totals['response_tokens_cut']} response tokens. Raise text.max_length, shorten the records, or raise "
            "text.max_truncated_fraction to accept the loss."
        )
