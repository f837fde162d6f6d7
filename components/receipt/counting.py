"""Counts over the rows of a split: made a batch at a time, merged in any order, bounded in size."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from components.receipt.histogram import Histogram
from components.receipt.rows import Row, SpecialTokens

NUM_EXAMPLES = 3
# What is found of rows, by the name of the rule that it may break. Of each kind one row is kept, to be shown.
WITHOUT_SUPERVISED_TOKEN = "rows_without_supervised_token"
WITHOUT_SUPERVISED_END = "rows_without_supervised_end_token"
DOUBLED_START = "doubled_start_token"
SPECIAL_IDS_IN_TEXT = "special_ids_in_text"
TRUNCATED = "truncated_rows"
KINDS = (WITHOUT_SUPERVISED_TOKEN, WITHOUT_SUPERVISED_END, DOUBLED_START, SPECIAL_IDS_IN_TEXT, TRUNCATED)


@dataclass
class Found:
    """Rows of one kind.

    Attributes:
        rows: How many.
        example: The one whose id has the smallest hash, after that hash: the same whatever the order of the rows.
    """

    rows: int = 0
    example: tuple[str, Row] | None = None

    def add(self, key: str, row: Row) -> None:
        """Adds one row."""
        self.merge(Found(rows=1, example=(key, row)))

    def merge(self, other: "Found") -> None:
        """Adds the rows of another."""
        self.rows += other.rows
        self.example = min(filter(None, (self.example, other.example)), key=lambda pair: pair[0], default=None)


@dataclass
class Counts:
    """Counts over some rows.

    Attributes:
        rows: Rows.
        tokens: Their tokens.
        supervised_tokens: Tokens that the loss counts.
        response_tokens: The same before token cleaning.
        weight_sum: Sum of the weights of all tokens.
        rows_cleaned_away: Rows of which token cleaning has left no token that counts.
        rows_with_supervised_end_token: Rows in which the loss counts an end token.
        prompt_tokens_cut: Tokens of prompts that truncation took away.
        response_tokens_cut: Tokens of responses likewise.
        special_ids: Special tokens beyond those of the template.
        lengths: Tokens of a row.
        supervised: Tokens of a row that the loss counts.
        spans: Runs of such tokens in a row.
        truncated: Tokens that a truncated row had before.
        found: Rows by kind, see `KINDS`.
        sample: `NUM_EXAMPLES` rows: those whose ids have the smallest hashes, rows that the loss counts first.
    """

    rows: int = 0
    tokens: int = 0
    supervised_tokens: int = 0
    response_tokens: int = 0
    weight_sum: float = 0.0
    rows_cleaned_away: int = 0
    rows_with_supervised_end_token: int = 0
    prompt_tokens_cut: int = 0
    response_tokens_cut: int = 0
    special_ids: int = 0
    lengths: Histogram = field(default_factory=Histogram)
    supervised: Histogram = field(default_factory=Histogram)
    spans: Histogram = field(default_factory=Histogram)
    truncated: Histogram = field(default_factory=Histogram)
    found: dict[str, Found] = field(default_factory=lambda: {kind: Found() for kind in KINDS})
    sample: dict[str, Row] = field(default_factory=dict)


_SUMS = (
    "rows",
    "tokens",
    "supervised_tokens",
    "response_tokens",
    "weight_sum",
    "rows_cleaned_away",
    "rows_with_supervised_end_token",
    "prompt_tokens_cut",
    "response_tokens_cut",
    "special_ids",
)
_HISTOGRAMS = ("lengths", "supervised", "spans", "truncated")


def count_rows(rows: Iterable[Row], tokens: SpecialTokens) -> Counts:
    """Counts a batch."""
    result = Counts()
    for row in rows:
        _add(result, row, tokens)
    result.sample = _cut_sample(result.sample)
    return result


def merge_counts(parts: Iterable[Counts]) -> Counts:
    """Adds counts up."""
    result = Counts()
    for part in parts:
        for name in _SUMS:
            setattr(result, name, getattr(result, name) + getattr(part, name))
        for name in _HISTOGRAMS:
            getattr(result, name).merge(getattr(part, name))
        for kind, found in part.found.items():
            result.found[kind].merge(found)
        result.sample = _cut_sample(result.sample | part.sample)
    return result


def _add(counts: Counts, row: Row, tokens: SpecialTokens) -> None:
    key = hashlib.sha256(row.example_id.encode()).hexdigest()
    num_supervised, spans = row.num_supervised, row.list_spans()
    has_end = not set(tokens.end_ids).isdisjoint(row.token_ids[row.is_supervised].tolist())
    in_text = row.count_specials_in_text(tokens)
    counts.rows += 1
    counts.tokens += len(row.token_ids)
    counts.supervised_tokens += num_supervised
    counts.response_tokens += row.num_response_tokens
    counts.weight_sum += float(row.weight.sum(dtype=np.float64))
    counts.rows_with_supervised_end_token += has_end
    counts.prompt_tokens_cut += row.tokens_cut[0]
    counts.response_tokens_cut += row.tokens_cut[1]
    counts.special_ids += in_text
    counts.lengths.add(len(row.token_ids))
    counts.supervised.add(num_supervised)
    counts.spans.add(len(spans))
    if any(row.tokens_cut):
        counts.truncated.add(row.full_length)
    is_cleaned_away = not num_supervised and row.num_response_tokens > 0
    counts.rows_cleaned_away += is_cleaned_away
    is_kind = {
        WITHOUT_SUPERVISED_TOKEN: not num_supervised and not is_cleaned_away,
        WITHOUT_SUPERVISED_END: num_supervised > 0 and not has_end,
        DOUBLED_START: _has_doubled_start(row, tokens),
        SPECIAL_IDS_IN_TEXT: in_text > 0,
        TRUNCATED: any(row.tokens_cut),
    }
    for kind in KINDS:
        if is_kind[kind]:
            counts.found[kind].add(key, row)
    counts.sample[f"{0 if num_supervised else 1}{key}"] = row
    if len(counts.sample) > 10 * NUM_EXAMPLES:
        counts.sample = _cut_sample(counts.sample)


def _has_doubled_start(row: Row, tokens: SpecialTokens) -> bool:
    return tokens.start_id is not None and row.token_ids[:2].tolist() == [tokens.start_id] * 2


def _cut_sample(sample: dict[str, Row]) -> dict[str, Row]:
    return {key: sample[key] for key in sorted(sample)[:NUM_EXAMPLES]}
