"""Compares what two evaluations measured, and how they ended."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from pipeline.lineage.changes import Change, make_change
from pipeline.lineage.graph import Properties

_CANDIDATE, _OVERALL = "candidate", "overall"
_PASSED = {True: "holds", False: "does not hold", None: "not enough evidence"}


def compare_metrics(before: Properties, after: Properties) -> Iterator[Change]:
    """Yields the candidates' values that differ, over the whole split and then by slice.

    Args:
        before: Properties of the first evaluation.
        after: Of the second.
    """
    values = [_read_values(evaluation) for evaluation in (before, after)]
    if not all(values):
        return  # the verdict says that one was not evaluated
    intervals = [_read(evaluation, "intervals") for evaluation in (before, after)]
    directions = _read(before, "directions") | _read(after, "directions")
    slices = sorted({*values[0], *values[1]}, key=lambda name: (name != _OVERALL, name))
    for name in slices:
        old, new = (side.get(name, {}) for side in values)
        for metric in dict.fromkeys((*old, *new)):
            key = metric if name == _OVERALL else f"{metric} on {name}"
            change = make_change(key, old.get(metric), new.get(metric))
            if change is not None:
                bounds = [side.get(name, {}).get(metric) for side in intervals]
                yield replace(change, note=_describe(change, bounds, directions.get(metric)))


def compare_outcomes(before: Properties, after: Properties) -> Iterator[Change]:
    """Yields how verdicts differ: the blessing, and each rule that holds for one of the two only.

    Args:
        before: Properties of evaluation and blessing of the first side, merged; empty if there was none.
        after: Of the second.
    """
    changes = [make_change("blessed", _read_blessed(before), _read_blessed(after))]
    if changes[0] is not None:
        changes.append(make_change("verdict", before.get("verdict") or None, after.get("verdict") or None))
    if before and after:
        changes.append(make_change("baseline", before.get("baseline"), after.get("baseline")))
        old, new = (_read_rules(side) for side in (before, after))
        changes += [make_change(rule, old.get(rule), new.get(rule)) for rule in dict.fromkeys((*old, *new))]
    yield from (change for change in changes if change is not None)


def _read_values(evaluation: Properties) -> dict[str, dict[str, Any]]:
    metrics = _read(evaluation, "metrics")
    # A benchmark's has no models beside it.
    return metrics.get(_CANDIDATE, {} if "preset" in metrics else metrics) or {}


def _describe(change: Change, bounds: list[Any], higher_is_better: bool | None) -> str:
    words = []
    if change.difference is not None and higher_is_better is not None:
        words.append("better" if (change.difference > 0) == higher_is_better else "worse")
    if all(isinstance(bound, list) and None not in bound for bound in bounds):
        (low, high), (other_low, other_high) = bounds
        overlap = low <= other_high and other_low <= high
        words.append("intervals overlap" if overlap else "intervals apart")
    return ", ".join(words)


def _read_blessed(evaluation: Properties) -> str:
    return {None: "not evaluated", 1: "yes"}.get(evaluation.get("blessed"), "no")


def _read_rules(evaluation: Properties) -> dict[str, str]:
    checks = _read(evaluation, "checks")
    rules = {}
    for check in checks if isinstance(checks, list) else []:
        if "passed" in check:
            where = "" if check.get("slice_name") == _OVERALL else f" on {check.get('slice_name')}"
            rules[f"{check.get('metric')}{where}: {check.get('rule')}"] = _PASSED[check["passed"]]
    return rules


def _read(evaluation: Properties, name: str) -> Any:
    """Returns a property that is JSON."""
    try:
        return json.loads(str(evaluation[name]))
    except (KeyError, ValueError):
        return {}
