import math

import pytest

from components.evaluator.gate import describe, list_checks

HIGHER = {"perplexity": False, "exact_match": True}


def rule(metric, **bounds):
    return {"metric": metric, "lower_bound": None, "upper_bound": None, "min_improvement": None, **bounds}


@pytest.mark.parametrize(
    ("threshold", "candidate", "baseline", "value", "passed"),
    [
        (rule("perplexity", upper_bound=10.0), 10.0, 0.0, 10.0, True),
        (rule("perplexity", upper_bound=10.0), 10.1, 0.0, 10.1, False),
        (rule("exact_match", lower_bound=0.5), 0.5, 0.0, 0.5, True),
        (rule("perplexity", min_improvement=0.0), 8.0, 8.0, 0.0, True),
        (rule("perplexity", min_improvement=1.0), 8.0, 10.0, 2.0, True),
        (rule("perplexity", min_improvement=0.0), 8.0, 7.0, -1.0, False),
        (rule("perplexity", min_improvement=-2.0), 8.0, 7.0, -1.0, True),
        (rule("exact_match", min_improvement=0.1), 0.5, 0.45, 0.05, False),
        (rule("exact_match", lower_bound=0.0), math.nan, 0.0, math.nan, False),
    ],
)
def test_conditions(threshold, candidate, baseline, value, passed):
    name = threshold["metric"]
    (check,) = list_checks([threshold], {name: candidate}, {name: baseline}, HIGHER)
    assert check.value == pytest.approx(value, nan_ok=True)
    assert check.passed == passed


def test_the_verdict_names_what_decided():
    thresholds = [rule("perplexity", upper_bound=10.0), rule("exact_match", lower_bound=0.5, min_improvement=0.0)]
    checks = list_checks(thresholds, {"perplexity": 9.0, "exact_match": 0.25}, {"exact_match": 0.125}, HIGHER)
    assert describe(checks, blessed=False) == "Not blessed: exact_match misses >= 0.5 (is 0.25)."
    assert describe(checks[:1], blessed=True) == "Blessed: perplexity has <= 10 (is 9)."


def test_a_metric_that_is_missing_fails():
    assert not list_checks([rule("perplexity", upper_bound=1e9)], {}, {}, HIGHER)[0].passed
