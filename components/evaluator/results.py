"""TFMA's results, read back as plain numbers."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tfx.types  # noqa: F401  Before TFMA, see resampling.py.

from components.evaluator.gate import BASELINE, CANDIDATE, GENERAL, OVERALL, Check, Measured, Results
from components.evaluator.resampling import CHANGE, INTERVAL

import tensorflow_model_analysis as tfma  # isort: skip


def read_results(output_path: str, models: Sequence[str]) -> Results:
    """Returns what TFMA has written to `output_path`.

    Args:
        output_path: Folder of the results.
        models: Names of the models.
    """
    results = Results(values={}, changes={}, num_examples={})
    for model in models:
        name_there = model if len(models) > 1 else ""
        for slice_key, outputs in tfma.load_eval_result(output_path, model_name=name_there).slicing_metrics:
            slice_name = ", ".join(f"{column}={value}" for column, value in slice_key) or OVERALL
            found = {name: _read_value(value) for name, value in outputs[""][""].items()}
            results.num_examples[slice_name] = int(found["example_count"][0])
            for name, numbers in found.items():
                value_name, _, other = name.rpartition(CHANGE)
                if other in models:
                    by_slice = results.changes.setdefault(other, {}).setdefault(slice_name, {})
                    by_slice[value_name] = Measured(value=numbers[0], low=numbers[1], high=numbers[2])
                elif not name.endswith(INTERVAL):
                    interval = found.get(name + INTERVAL, [math.nan, math.nan])
                    by_slice = results.values.setdefault(model, {}).setdefault(slice_name, {})
                    by_slice[name] = Measured(value=numbers[0], low=interval[0], high=interval[1])
    return results


def add_general(results: Results, general: Results) -> None:
    """Adds what was measured on general text to `results`, as a slice of its own."""
    results.num_examples[GENERAL] = general.num_examples[OVERALL]
    for into, found in ((results.values, general.values), (results.changes, general.changes)):
        for model, slices in found.items():
            into.setdefault(model, {})[GENERAL] = slices[OVERALL]


def checks_to_json(checks: Sequence[Check]) -> list[dict[str, Any]]:
    """Returns the checks as JSON; None stands for numbers that are not finite."""
    return [
        {**dataclasses.asdict(check), "measured": [_finite_or_none(n) for n in dataclasses.astuple(check.measured)]}
        for check in checks
    ]


def _finite_or_none(number: float) -> float | None:
    return number if math.isfinite(number) else None


def to_json(results: Results, baseline: str) -> dict[str, Any]:
    """Returns the results as JSON: `metrics` by model, slice and value; `changes` by other model, slice and value.

    Numbers alone in `metrics`; `[value, low, high]` in `changes` and in `intervals`. What is not finite is left out.

    Args:
        results: The results.
        baseline: The model that was the baseline; its numbers are also there as `baseline`.
    """
    metrics = {
        model: {
            slice_name: {name: m.value for name, m in values.items() if math.isfinite(m.value)}
            for slice_name, values in slices.items()
        }
        for model, slices in results.values.items()
    }
    metrics.setdefault(BASELINE, metrics[baseline])
    changes = {
        other: {
            slice_name: {
                name: [_finite_or_none(n) for n in (m.value, m.low, m.high)]
                for name, m in values.items()
                if math.isfinite(m.value)
            }
            for slice_name, values in slices.items()
        }
        for other, slices in results.changes.items()
    }
    intervals = {
        slice_name: {name: [m.low, m.high] for name, m in values.items() if math.isfinite(m.low)}
        for slice_name, values in results.values[CANDIDATE].items()
    }
    return {"metrics": metrics, "changes": changes, "intervals": intervals}


def _read_value(value: dict[str, Any]) -> list[float]:
    if "doubleValue" in value:
        return [float(value["doubleValue"])]
    array = value["arrayValue"]
    return [float(number) for number in np.array(array["float64Values"], np.float64)]
