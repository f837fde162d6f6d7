"""Rules on measured values: three verdicts, and what is blessed."""

import dataclasses
import math

import pytest

from components.evaluator.gate import Measured, Results, check_rules, describe, is_blessed, judge, make_rules

DIRECTIONS = {"perplexity": False, "exact_match": True}


def rule(metric, **given):
    empty = {"slice": None, "lower_bound": None, "upper_bound": None, "min_improvement": None}
    return {"metric": metric, **empty, "against": "blessed", "require": "better", **given}


def check(rules, values=None, changes=None, num_examples=None, min_examples=30):
    results = Results(
        values={"candidate": {"overall": {n: Measured(value=v) for n, v in (values or {}).items()}}},
        changes={
            other: {s: {n: Measured(value=v[0], low=v[1], high=v[2]) for n, v in c.items()} for s, c in slices.items()}
            for other, slices in (changes or {}).items()
        },
        num_examples=num_examples or {"overall": 100},
    )
    return check_rules(rules, results, DIRECTIONS, baseline="baseline", min_examples=min_examples)


@pytest.mark.parametrize(
    ("threshold", "value", "passed"),
    [
        (rule("perplexity", upper_bound=10.0), 10.0, True),
        (rule("perplexity", upper_bound=10.0), 10.1, False),
        (rule("exact_match", lower_bound=0.5), 0.5, True),
        (rule("exact_match", lower_bound=0.5), 0.4, False),
        (rule("exact_match", lower_bound=0.0), math.nan, False),
    ],
)
def test_bounds(threshold, value, passed):
    (result,) = check([threshold], {threshold["metric"]: value})
    assert result.passed is passed
    assert result.verdict is None


@pytest.mark.parametrize(
    ("change", "given", "verdict", "passed"),
    [
        # exact_match: higher is better.
        (("exact_match", 0.2, 0.1, 0.3), {}, "better", True),
        (("exact_match", 0.2, -0.1, 0.5), {}, "not enough evidence", None),
        (("exact_match", -0.2, -0.3, -0.1), {}, "worse", False),
        (("exact_match", 0.0, 0.0, 0.0), {}, "not enough evidence", None),
        # perplexity: lower is better.
        (("perplexity", -2.0, -3.0, -1.0), {}, "better", True),
        (("perplexity", 2.0, 1.0, 3.0), {}, "worse", False),
        # With a margin, either way.
        (("exact_match", 0.2, 0.1, 0.3), {"min_improvement": 0.15}, "not enough evidence", None),
        (("perplexity", 0.1, -0.2, 0.4), {"min_improvement": -0.5}, "better", True),
        # A veto asks for proof of the opposite.
        (("exact_match", -0.1, -0.3, 0.1), {"require": "not_worse"}, "not enough evidence", True),
        (("exact_match", -0.2, -0.3, -0.1), {"require": "not_worse"}, "worse", False),
        (("exact_match", math.nan, math.nan, math.nan), {"require": "not_worse"}, "not enough evidence", False),
    ],
)
def test_changes(change, given, verdict, passed):
    name, *numbers = change
    threshold = rule(name, **{"min_improvement": 0.0, **given})
    (result,) = check([threshold], changes={"baseline": {"overall": {name: numbers}}})
    assert (result.verdict, result.passed) == (verdict, passed)


def test_a_change_is_against_the_model_that_the_rule_names():
    changes = {
        "baseline": {"overall": {"exact_match": (-0.2, -0.3, -0.1)}},
        "preset": {"overall": {"exact_match": (0.2, 0.1, 0.3)}},
    }
    rules = [rule("exact_match", min_improvement=0.0, against=other) for other in ("blessed", "preset")]
    assert [result.verdict for result in check(rules, changes=changes)] == ["worse", "better"]


def test_few_examples_are_no_evidence():
    changes = {"baseline": {"overall": {"exact_match": (1.0, 1.0, 1.0)}}}
    rules = [rule("exact_match", min_improvement=0.0)]
    (few,) = check(rules, changes=changes, num_examples={"overall": 29})
    assert few.passed is None
    assert few.describe().endswith("(is 1, [1, 1]; 29 examples are fewer than evaluation.min_examples)")
    assert check(rules, changes=changes, num_examples={"overall": 30})[0].passed is True


def test_a_column_named_general_is_not_the_general_text():
    counts = {"overall": 100, "general": 300, "general=yes": 50}
    changes = {
        "baseline": {
            "general": {"exact_match": (-0.2, -0.3, -0.1)},
            "general=yes": {"exact_match": (0.2, 0.1, 0.3)},
        }
    }
    rules = [rule("exact_match", min_improvement=0.0, slice="general")]
    (found,) = check(rules, changes=changes, num_examples=counts)
    assert (found.slice_name, found.passed) == ("general", False)


def test_slices():
    counts = {"overall": 100, "kind=a": 50, "kind=b": 50, "size=a": 100}
    changes = {
        "baseline": {
            "overall": {"exact_match": (0.2, 0.1, 0.3)},
            "kind=a": {"exact_match": (0.5, 0.4, 0.6)},
            "kind=b": {"exact_match": (-0.3, -0.4, -0.2)},
            "size=a": {"exact_match": (0.2, 0.1, 0.3)},
        }
    }
    rules = [
        rule("exact_match", min_improvement=0.0),
        rule("exact_match", min_improvement=0.0, slice="kind", require="not_worse"),
    ]
    checks = check(rules, changes=changes, num_examples=counts)
    assert [(c.slice_name, c.passed) for c in checks] == [("overall", True), ("kind=a", True), ("kind=b", False)]
    assert not is_blessed(checks, "bless")
    assert "it does not hold that exact_match on kind=b" in describe(checks, blessed=False)
    # A slice that is not there has not been shown to be better.
    (missing,) = check([rule("exact_match", lower_bound=0.0, slice="kind=c")], changes=changes, num_examples=counts)
    assert missing.passed is False


def test_a_column_without_values_fails():
    changes = {"baseline": {"overall": {"exact_match": (0.2, 0.1, 0.3)}}}
    rules = [rule("exact_match", min_improvement=0.0, slice="kind", require="not_worse")]
    assert [c.passed for c in check(rules, changes=changes)] == [False]


def test_a_slice_without_examples_proves_nothing():
    (missing,) = check([rule("exact_match", min_improvement=0.0, slice="kind=c")], changes={"baseline": {}})
    assert missing.passed is False


def test_what_lack_of_evidence_does():
    changes = {"baseline": {"overall": {"exact_match": (0.1, -0.1, 0.3)}}}
    checks = check([rule("exact_match", min_improvement=0.0)], changes=changes)
    assert not is_blessed(checks, "refuse")
    assert is_blessed(checks, "bless")
    assert describe(checks, blessed=False) == (
        "Not blessed, for lack of evidence that exact_match improves on the baseline by more than 0 (is 0.1, [-0.1, 0.3])."
    )
    assert describe(checks, blessed=True) == (
        "Blessed: there is not enough evidence that exact_match improves on the baseline by more than 0 (is 0.1, [-0.1, 0.3])."
    )


def test_the_verdict_names_what_decided():
    rules = [rule("perplexity", upper_bound=10.0), rule("exact_match", lower_bound=0.5)]
    checks = check(rules, {"perplexity": 9.0, "exact_match": 0.25})
    assert (
        describe(checks, blessed=False) == "Not blessed: it does not hold that exact_match is at least 0.5 (is 0.25)."
    )
    assert describe(checks[:1], blessed=True) == "Blessed: perplexity is at most 10 (is 9)."


def test_judge_at_the_margin():
    assert judge(Measured(value=0.1, low=0.0, high=0.2)) == "not enough evidence"
    assert judge(Measured(value=0.1, low=1e-9, high=0.2)) == "better"
    assert judge(Measured(value=math.nan)) == "not enough evidence"


def test_budget_of_what_may_be_forgotten_is_a_rule():
    assert make_rules({"thresholds": [rule("perplexity")]}) == [rule("perplexity")]
    (_, budget) = make_rules({"thresholds": [rule("perplexity")], "general": {"max_perplexity_increase": 0.1}})
    assert budget["slice"] == "general"
    count = {"overall": 100, "general": 100}
    for rise, low, high, verdict in (
        (0.05, 0.02, 0.09, "better"),
        (0.05, 0.02, 0.11, "not enough evidence"),
        (math.inf, math.inf, math.inf, "worse"),
        (0.2, 0.15, 0.3, "worse"),
    ):
        losses = {"loss": tuple(1000.0 if math.isinf(r) else math.log1p(r) for r in (rise, low, high))}
        results = Results(
            values={"candidate": {"general": {"loss": Measured(value=3.0)}}},
            changes={"preset": {"general": {n: Measured(value=v[0], low=v[1], high=v[2]) for n, v in losses.items()}}},
            num_examples=count,
        )
        (result,) = check_rules([budget], results, {"loss": False}, baseline="baseline", min_examples=30)
        assert (result.slice_name, result.verdict, result.metric) == ("general", verdict, "perplexity")
        assert dataclasses.astuple(result.measured) == pytest.approx((rise, low, high))
    assert result.describe() == (
        "perplexity on general rises by at most 10.00% over the untouched preset's (is 0.2, [0.15, 0.3])"
    )
