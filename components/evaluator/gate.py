"""Reads TFMA's results: the metrics of each model and slice, and the verdict in words."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Model name -> slice ("overall" or "column=value") -> metric -> value.
Metrics = dict[str, dict[str, dict[str, float]]]

OVERALL = "overall"


@dataclass(frozen=True, kw_only=True)
class Check:
    """One condition of a threshold, and what came of it.

    Attributes:
        metric: Its name.
        rule: The condition in words.
        value: What it was applied to: the candidate's value, or its improvement on the baseline.
        passed: Whether it holds. A value that is not a number never passes.
    """

    metric: str
    rule: str
    value: float
    passed: bool


def read_metrics(slicing_metrics: Mapping[str, Any], names: list[str]) -> Metrics:
    """Returns plain numbers from TFMA's results.

    Args:
        slicing_metrics: Model name -> list of (slice key, TFMA's nested metrics) as `tfma.load_eval_result` gives them.
        names: The metrics to keep; TFMA adds the differences to the baseline under names of its own.
    """
    result: Metrics = {}
    for model, slices in slicing_metrics.items():
        for slice_key, outputs in slices:
            name = ", ".join(f"{column}={value}" for column, value in slice_key) or OVERALL
            values = outputs[""][""]
            result.setdefault(model, {})[name] = {
                metric: float(values[metric]["doubleValue"])
                for metric in names
                if "doubleValue" in values.get(metric, {})
            }
    return result


def list_checks(
    thresholds: list[Mapping[str, Any]],
    candidate: Mapping[str, float],
    baseline: Mapping[str, float],
    higher_is_better: Mapping[str, bool | None],
) -> list[Check]:
    """Returns every condition of the thresholds with what came of it, for the report.

    TFMA decides; these are the same comparisons spelt out, and the executor checks that both agree.

    Args:
        thresholds: The run's `evaluation.thresholds`.
        candidate: Overall metrics of the candidate.
        baseline: Overall metrics of the baseline.
        higher_is_better: Direction of each metric.
    """
    nan = float("nan")
    checks = []
    for rule in thresholds:
        name = rule["metric"]
        value = candidate.get(name, nan)
        if rule["lower_bound"] is not None:
            checks.append(
                Check(metric=name, rule=f">= {rule['lower_bound']:g}", value=value, passed=value >= rule["lower_bound"])
            )
        if rule["upper_bound"] is not None:
            checks.append(
                Check(metric=name, rule=f"<= {rule['upper_bound']:g}", value=value, passed=value <= rule["upper_bound"])
            )
        if rule["min_improvement"] is not None:
            gain = value - baseline.get(name, nan)
            gain = gain if higher_is_better[name] else -gain
            checks.append(
                Check(
                    metric=name,
                    rule=f"improvement on the baseline >= {rule['min_improvement']:g}",
                    value=gain,
                    passed=gain >= rule["min_improvement"],
                )
            )
    return checks


def describe(checks: list[Check], blessed: bool) -> str:
    """Returns the verdict in one sentence, with the conditions that decided."""
    decisive = [c for c in checks if c.passed == blessed] or checks
    reasons = "; ".join(f"{c.metric} {'has' if c.passed else 'misses'} {c.rule} (is {c.value:.4g})" for c in decisive)
    return f"{'Blessed' if blessed else 'Not blessed'}: {reasons}."
