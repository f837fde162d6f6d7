"""The gate: what each rule says of the measured values, and whether the model is blessed."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

# Names of the models.
CANDIDATE = "candidate"
BASELINE = "baseline"
PRESET = "preset"
# The slice of all examples, and that of the text that the model is not tuned for.
OVERALL = "overall"
GENERAL = "general"
# What is measured there.
GENERAL_METRICS = ("perplexity", "loss", "bits_per_byte", "token_accuracy")

Verdict = Literal["better", "worse", "not enough evidence"]
BETTER: Verdict = "better"
WORSE: Verdict = "worse"
UNKNOWN: Verdict = "not enough evidence"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measured:
    """A value of one model on one slice.

    Attributes:
        value: the number.
        low: lower end of its interval.
        high: upper end.
    """

    value: float
    low: float = math.nan
    high: float = math.nan


@dataclasses.dataclass(frozen=True, kw_only=True)
class Results:
    """What the metrics have measured.

    Attributes:
        values: model -> slice -> value name -> number with interval.
        changes: other model -> slice -> value name -> the candidate's value minus the other's, with interval.
        num_examples: slice -> examples.
    """

    values: dict[str, dict[str, dict[str, Measured]]]
    changes: dict[str, dict[str, dict[str, Measured]]]
    num_examples: dict[str, int]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Check:
    """One rule on one slice, and what came of it.

    Attributes:
        metric: Name of the value.
        slice_name: `overall` or `column=value`.
        rule: The condition in words that follow the name of what is measured: `is at least 0.5`.
        measured: What it was applied to: the candidate's value, its improvement (positive is better), or for the budget of what may be
            forgotten the rise by a share.
        verdict: For a rule about a change; None for a bound.
        passed: Whether it holds; None if that is not known for lack of evidence.
        too_few: Examples of the slice, if they are too few to be evidence.
    """

    metric: str
    slice_name: str
    rule: str
    measured: Measured
    verdict: Verdict | None
    passed: bool | None
    too_few: int | None = None

    def describe(self) -> str:
        """The condition with what was measured, in words; whether it holds is for the caller to say."""
        where = "" if self.slice_name == OVERALL else f" on {self.slice_name}"
        number = f"is {self.measured.value:.4g}"
        if math.isfinite(self.measured.low):
            number += f", [{self.measured.low:.4g}, {self.measured.high:.4g}]"
        if self.too_few is not None:
            number += f"; {self.too_few} examples are fewer than evaluation.min_examples"
        return f"{self.metric}{where} {self.rule} ({number})"


def make_rules(evaluation: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Returns all rules of a run's `evaluation` section: its thresholds, and the budget of what may be forgotten."""
    rules = list(evaluation["thresholds"])
    budget = (evaluation.get("general") or {}).get("max_perplexity_increase")
    if budget is not None:
        rules.append(
            {
                "metric": "loss",  # the logarithm of the perplexity, whose share is a difference here
                "slice": GENERAL,
                "lower_bound": None,
                "upper_bound": None,
                "min_improvement": -math.log1p(budget),
                "against": "preset",
                "require": "better",
                "max_rise": budget,
            }
        )
    return rules


def check_rules(
    rules: Sequence[Mapping[str, Any]],
    results: Results,
    directions: Mapping[str, bool | None],
    *,
    baseline: str,
    min_examples: int,
) -> list[Check]:
    """Returns every rule with what came of it, on each slice that it is about.

    Args:
        rules: The run's `evaluation.thresholds`.
        results: What was measured.
        directions: Whether higher is better, by value name.
        baseline: Name of the model that `against: blessed` means.
        min_examples: On fewer, a change is never evidence: resamples of a few examples know too little of others.
    """
    checks = []
    for rule in rules:
        for slice_name in _list_slices(rule["slice"], results.num_examples):
            name = rule["metric"]
            value = results.values[CANDIDATE].get(slice_name, {}).get(name, Measured(value=math.nan))
            for bound, word, holds in (
                ("lower_bound", "least", lambda v, b: v >= b),
                ("upper_bound", "most", lambda v, b: v <= b),
            ):
                if rule[bound] is not None:
                    checks.append(
                        Check(
                            metric=name,
                            slice_name=slice_name,
                            rule=f"is at {word} {rule[bound]:g}",
                            measured=value,
                            verdict=None,
                            passed=holds(value.value, rule[bound]),
                        )
                    )
            if rule["min_improvement"] is not None:
                other = {"blessed": baseline, "preset": PRESET}[rule["against"]]
                change = results.changes[other].get(slice_name, {}).get(name, Measured(value=math.nan))
                count = results.num_examples.get(slice_name, 0)
                too_few = count if count < min_examples else None
                checks.append(_check_change(rule, slice_name, change, bool(directions[name]), too_few))
    return checks


def _check_change(
    rule: Mapping[str, Any], slice_name: str, change: Measured, higher_is_better: bool, too_few: int | None
) -> Check:
    # 0 minus it, lest no change be shown as -0.
    improvement = (
        change if higher_is_better else Measured(value=0.0 - change.value, low=0.0 - change.high, high=0.0 - change.low)
    )
    verdict = judge(improvement, rule["min_improvement"]) if too_few is None else UNKNOWN
    margin = rule["min_improvement"]
    than = "the untouched preset" if rule["against"] == "preset" else "the baseline"
    if rule["require"] == "better":
        words = f"improves on {than} by more than {margin:g}"
        passed = {BETTER: True, WORSE: False, UNKNOWN: None}[verdict]
    else:
        words = (
            f"is not shown to be worse than {than}"
            if margin == 0
            else f"is not shown to improve on {than} by less than {margin:g}"
        )
        passed = verdict != WORSE
    if not math.isfinite(improvement.value):
        passed = False
    check = Check(
        metric=rule["metric"],
        slice_name=slice_name,
        rule=words,
        measured=improvement,
        verdict=verdict,
        passed=passed,
        too_few=too_few,
    )
    return _as_rise(check, rule["max_rise"]) if "max_rise" in rule else check


def _as_rise(check: Check, max_rise: float) -> Check:
    """The check of an improvement of the loss, told as the perplexity's rise by a share, as the budget was given."""
    measured = check.measured
    value, low, high = (_expm1(-n) for n in (measured.value, measured.high, measured.low))
    rule = f"rises by at most {max_rise:.2%} over the untouched preset's"
    return dataclasses.replace(
        check, metric="perplexity", rule=rule, measured=Measured(value=value, low=low, high=high)
    )


def _expm1(value: float) -> float:
    try:
        return math.expm1(value)
    except OverflowError:  # a model that has diverged
        return math.inf


def judge(improvement: Measured, margin: float = 0.0) -> Verdict:
    """Says what an improvement with its interval proves: it is above the margin, below it, or neither."""
    if improvement.low > margin:
        return BETTER
    if improvement.high < margin:
        return WORSE
    return UNKNOWN


def is_blessed(checks: Sequence[Check], without_evidence: str) -> bool:
    """Whether every rule holds; where evidence lacks, the run's `evaluation.without_evidence` decides: refuse or bless."""
    return all(without_evidence == "bless" if check.passed is None else check.passed for check in checks)


def describe(checks: Sequence[Check], blessed: bool) -> str:
    """Returns the verdict in one sentence, with the conditions that decided."""
    held, failed, lacking = (
        "; ".join(check.describe() for check in checks if check.passed is passed) for passed in (True, False, None)
    )
    unknown = f"there is not enough evidence that {lacking}" if lacking else ""
    if blessed:
        return f"Blessed: {'; '.join(filter(None, (held, unknown)))}."
    if failed:
        return f"Not blessed: it does not hold that {'; '.join(filter(None, (failed, unknown)))}."
    return f"Not blessed, for lack of evidence that {lacking}."


def _list_slices(wanted: str | None, known: Mapping[str, int]) -> list[str]:
    """`overall` for None; one slice for `column=value`; all slices of a column for `column`."""
    if wanted is None:
        return [OVERALL]
    if "=" in wanted or wanted == GENERAL:  # which is no column, even where one has that name
        return [wanted]
    # Where the data have no value of that column, the rule is about a slice that is not there, and fails.
    return sorted(name for name in known if name.startswith(f"{wanted}=")) or [wanted]
