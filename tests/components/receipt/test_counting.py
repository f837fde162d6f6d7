"""Every figure against examples that can be counted by eye."""

import random

import numpy as np
import pytest

from components.receipt.counting import NUM_EXAMPLES, Counts, count_rows, merge_counts
from components.receipt.report import describe_split
from components.receipt.rows import Row, parse_row

MAX_LENGTH = 6


@pytest.fixture
def rows(make_row):
    return [
        # Start, prompt, answer, end token that the loss counts.
        make_row("whole", [1, 10, 11, 2], [0, 0, 1, 1], specials=2),
        # Two turns of the model, the second one closed by the other end token, which has half a weight.
        make_row("turns", [1, 10, 11, 2, 12, 13, 3], [0, 0, 1, 1, 0, 1, 0.5], specials=3),
        # Truncated: the end token is gone.
        make_row("cut", [1, 10, 11, 12, 13, 14], [0, 0, 0, 1, 1, 1], cut=(2, 3), specials=2),
        # Nothing to learn: no answer at all, or all of it cleaned away.
        make_row("empty", [1, 10, 11], [0, 0, 0], specials=1),
        make_row("cleaned", [1, 10, 11, 2], [0, 0, 0, 0], response=2, specials=2),
        # The start token twice, and one special token more than those of the template, in the prompt.
        make_row("doubled", [1, 1, 10, 2], [0, 0, 1, 1], specials=3),
        make_row("hostile", [1, 10, 4, 2, 11, 2], [0, 0, 0, 0, 1, 1], specials=2),
    ]


def test_every_figure(rows, tokens):
    figures = describe_split(count_rows(rows, tokens), MAX_LENGTH)
    assert figures == {
        "rows": 7,
        "tokens": 4 + 7 + 6 + 3 + 4 + 4 + 6,
        "supervised_tokens": 2 + 4 + 3 + 2 + 2,
        "response_tokens": 2 + 4 + 3 + 2 + 2 + 2,
        "weight_sum": 12.5,
        "tokens_a_row": {"min": 3, "p5": 3, "p25": 4, "median": 4, "p75": 6, "p95": 7, "max": 7, "mean": 34 / 7},
        "supervised_tokens_a_row": {
            "min": 0,
            "p5": 0,
            "p25": 0,
            "median": 2,
            "p75": 3,
            "p95": 4,
            "max": 4,
            "mean": 13 / 7,
        },
        "spans_a_row": {"min": 0, "p5": 0, "p25": 0, "median": 1, "p75": 1, "p95": 2, "max": 2, "mean": 6 / 7},
        "rows_without_supervised_token": 1,
        "rows_cleaned_away": 1,
        "rows_with_supervised_end_token": 4,
        "rows_without_supervised_end_token": 1,
        "rows_with_doubled_start_token": 1,
        "rows_with_special_ids_in_text": 1,
        "special_ids_in_text": 2,
        "truncated": {
            "rows": 1,
            "prompt_tokens_cut": 2,
            "response_tokens_cut": 3,
            "full_length": {"min": 11, "p5": 11, "p25": 11, "median": 11, "p75": 11, "p95": 11, "max": 11, "mean": 11},
            "fits": [{"length": 8, "rows": 0}, {"length": 9, "rows": 0}, {"length": 12, "rows": 1}],
        },
    }


def test_one_row_of_each_kind_is_kept(rows, tokens):
    found = count_rows(rows, tokens).found
    assert {kind: each.example[1].example_id for kind, each in found.items()} == {
        "rows_without_supervised_token": "empty",
        "rows_without_supervised_end_token": "cut",
        "doubled_start_token": "doubled",
        "special_ids_in_text": "hostile",
        "truncated_rows": "cut",
    }


def test_merged_counts_do_not_depend_on_order_or_batches(make_row, tokens):
    draw = np.random.default_rng(0)
    rows = []
    for i in range(200):
        length = int(draw.integers(2, 40))
        weight = np.r_[0, draw.integers(0, 2, length - 1)]
        cut = tuple(int(n) for n in draw.integers(0, 2, 2))
        rows.append(make_row(f"row {i}", draw.integers(0, 6, length), weight, cut=cut, specials=1))
    whole = count_rows(rows, tokens)
    assert len(whole.sample) == NUM_EXAMPLES
    random.Random(0).shuffle(rows)
    parts = [count_rows(rows[i : i + 7], tokens) for i in range(0, len(rows), 7)]
    merged = merge_counts([merge_counts(parts[:5]), Counts(), merge_counts(parts[5:])])
    assert describe_split(merged, MAX_LENGTH) == describe_split(whole, MAX_LENGTH)
    for counts in (merged, whole):
        assert all(each.example is not None for each in counts.found.values())
    assert [row.example_id for row in merged.sample.values()] == [row.example_id for row in whole.sample.values()]
    assert {kind: each.example[0] for kind, each in merged.found.items()} == {
        kind: each.example[0] for kind, each in whole.found.items()
    }


def test_rows_to_learn_from_are_shown_first(make_row, tokens):
    empty = [make_row(f"empty {i}", [1, 10], [0, 0]) for i in range(50)]
    full = [make_row(f"full {i}", [1, 10], [0, 1]) for i in range(NUM_EXAMPLES)]
    assert {row.example_id for row in count_rows(empty + full, tokens).sample.values()} == {r.example_id for r in full}
    assert len(count_rows(empty, tokens).sample) == NUM_EXAMPLES


def test_a_model_without_start_token_doubles_none(make_row, tokens):
    import dataclasses

    rows = [make_row("a", [1, 1, 10], [0, 0, 1])]
    assert count_rows(rows, tokens).found["doubled_start_token"].rows == 1
    without = dataclasses.replace(tokens, start_id=None)
    assert count_rows(rows, without).found["doubled_start_token"].rows == 0


def test_of_a_truncated_row_only_what_is_certain_comes_from_the_text(make_row, tokens):
    assert make_row("a", [4, 2], [0, 1], cut=(3, 0), specials=3).count_specials_in_text(tokens) == 0
    assert make_row("a", [4, 4, 4, 2], [0, 0, 0, 1], cut=(3, 0), specials=3).count_specials_in_text(tokens) == 1
    assert make_row("unknown", [4, 4, 2], [0, 0, 1]).count_specials_in_text(tokens) == 0


def test_parsing(serialize):
    example = {"example_id": "a", "token_ids": [1, 10, 2], "loss_weight": [1.0, 0.0, 0.5]}
    counted = {"num_response_tokens": [2], "tokens_cut": [4, 5], "template_specials": [2]}
    row = parse_row(serialize(example | counted))
    assert row.weight.tolist() == [0, 0, 0.5]  # nothing predicts the first token
    assert (row.num_response_tokens, row.tokens_cut, row.template_specials, row.full_length) == (2, (4, 5), 2, 12)
    again = Row.from_json(row.to_json())
    assert again.to_json() == row.to_json() and again.weight.dtype == np.float32
    bare = parse_row(serialize(example))
    assert (bare.num_response_tokens, bare.tokens_cut, bare.template_specials) == (1, (0, 0), None)
    with pytest.raises(ValueError, match="3 tokens and 1 weights"):
        parse_row(serialize(example | {"loss_weight": [1.0]}))
