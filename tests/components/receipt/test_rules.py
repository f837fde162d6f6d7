"""Each rule: broken, allowed by a share, by a level, or off."""

import pytest

from components.receipt.counting import count_rows
from components.receipt.report import describe_split, find_row, summarize_split
from components.receipt.rules import RULES, describe_fits, describe_share, find_violations, format_percent
from configs.schema import ReceiptSection

MAX_LENGTH = 6
DEFAULTS = ReceiptSection().model_dump(mode="json")
GOOD = ("good", [1, 10, 11, 2], [0, 0, 1, 1])


@pytest.fixture
def break_rules(make_row, tokens):
    """Returns a function: the violations of three good rows and a bad one, or of bad ones alone."""

    def find(bad, *, good=3, rules=DEFAULTS):
        rows = [make_row(f"{GOOD[0]} {i}", *GOOD[1:], specials=2) for i in range(good)] + [bad]
        summary = summarize_split(count_rows(rows, tokens), MAX_LENGTH)
        return find_violations(
            "train", summary["figures"], lambda rule: (find_row(summary, rule) or {})["example_id"], rules, MAX_LENGTH
        )

    return find


# A row that breaks the rule, how many good ones are beside it, and what the message must say.
CASES = {
    "no_supervised_token": (
        {"token_ids": [1, 10], "weight": [0, 0]},
        0,
        "the loss must count a token somewhere. Received in the train split: none in 1 rows, for example bad. Check which column",
    ),
    "rows_without_supervised_token": (
        {"token_ids": [1, 10], "weight": [0, 0]},
        3,
        "at most 10 % of the rows may be without a token that the loss counts. Received in the train split: 1 of 4 rows (25 %), "
        "for example bad. The Trainer leaves such rows out.",
    ),
    "end_token_never_supervised": (
        {"token_ids": [1, 10, 11, 2], "weight": [0, 0, 1, 0]},
        0,
        "an end token somewhere: else the model never learns to stop. Received in the train split: none among 1 tokens of 1 rows, "
        "for example bad.",
    ),
    "rows_without_supervised_end_token": (
        {"token_ids": [1, 10, 11, 12], "weight": [0, 0, 1, 1]},
        2,
        "at most 25 % of the rows may be without an end token that the loss counts. Received in the train split: 1 of 3 rows (33 %)",
    ),
    "doubled_start_token": (
        {"token_ids": [1, 1, 10, 2], "weight": [0, 0, 1, 1]},
        3,
        "no row may begin with the start token twice. Received in the train split: 1 of 4 rows (25 %), for "
        "example bad. Template and tokenizer both put it there",
    ),
    "special_ids_in_text": (
        {"token_ids": [1, 4, 4, 2], "weight": [0, 0, 0, 1], "specials": 2},
        3,
        "no row may have special tokens that the template has not put there. Received in the train split: 2 in 1 of 4 rows (25 %), for "
        "example bad.",
    ),
    "truncated_rows": (
        {"token_ids": [1, 10, 11, 2], "weight": [0, 0, 1, 1], "cut": (4, 1)},
        3,
        "at most 5 % of the rows may be truncated to text.max_length = 6 tokens. Received in the train split: 1 of 4 rows (25 %), "
        "which lose 4 tokens of prompts and 1 of responses. A length of 9 would hold all, for example bad. Raise text.max_length",
    ),
}


def test_there_is_a_case_for_each_rule_and_a_key_for_each_in_the_configuration():
    assert set(CASES) == set(RULES) == set(DEFAULTS)


@pytest.mark.parametrize("name", CASES)
def test_a_broken_rule_says_so_and_can_be_allowed(name, make_row, break_rules):
    values, good, expected = CASES[name]
    bad = make_row("bad", **{"specials": 2, **values})

    def find(**setting):
        rules = ReceiptSection.model_validate({name: {**DEFAULTS[name], **setting}}).model_dump(mode="json")
        return {violation.rule: violation for violation in break_rules(bad, good=good, rules=rules)}

    found = find()[name]
    assert expected in found.message
    assert f"To allow it, set receipt.{name} to warn or off" in found.message
    assert (found.level, found.split, found.example_id) == (DEFAULTS[name]["level"], "train", "bad")
    assert find(level="error")[name].level == "error"
    assert find(level="warn")[name].level == "warn"
    assert name not in find(level="off")
    if "max_fraction" in DEFAULTS[name]:
        assert "or raise its `max_fraction`" in found.message
        assert name not in find(max_fraction=1 / (good + 1))
        assert name in find(max_fraction=1 / (good + 1) - 0.01)


def test_good_rows_break_none(make_row, break_rules):
    assert break_rules(make_row("good too", *GOOD[1:], specials=2)) == []


def test_what_breaks_on_all_rows_is_told_once(make_row, break_rules):
    """Without any supervised token there is no end token either."""
    found = break_rules(make_row("bad", [1, 10], [0, 0]), good=0)
    assert [violation.rule for violation in found] == ["no_supervised_token", "rows_without_supervised_token"]


def test_rows_that_token_cleaning_has_emptied_are_not_held_against_the_data(make_row, break_rules):
    assert break_rules(make_row("cleaned", [1, 10, 11, 2], [0, 0, 0, 0], response=2, specials=2), good=1) == []


def test_an_empty_split_has_no_supervised_token(tokens):
    figures = describe_split(count_rows([], tokens), MAX_LENGTH)
    (found,) = find_violations("eval", figures, lambda rule: "", DEFAULTS, MAX_LENGTH)
    assert found.rule == "no_supervised_token" and "eval split: none in 0 rows." in found.message


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (0, "0 %"),
        (1, "100 %"),
        (0.5, "50 %"),
        (0.2334, "23 %"),
        (12 / 5120, "0.23 %"),
        (0.999, "99.9 %"),
        (0.0612, "6 %"),
        (0.0642, "6.4 %"),
        (1e-7, "below 0.001 %"),
        (1 - 1e-7, "above 99.999 %"),
    ],
)
def test_percent(share, expected):
    assert format_percent(share) == expected


@pytest.mark.parametrize(
    ("fits", "expected"),
    [
        ([(8, 0), (9, 2), (12, 2), (18, 5)], "9 would hold 2 of these, 18 would hold all"),
        ([(8, 0), (96, 0)], "more than 96 is needed"),
        ([], ""),
    ],
)
def test_lengths_that_would_hold_truncated_rows(fits, expected):
    assert describe_fits(fits, 5) == expected


def test_share_of_nothing():
    assert describe_share(0, 0) == "0 of 0 rows (0 %)"
