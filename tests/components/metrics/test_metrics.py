"""Each metric by its formula, merged in parts as any Beam runner may."""

import importlib
import math

import numpy as np
import pytest
from tensorflow_model_analysis.metrics import metric_types

from components.metrics import METRICS

# Losses and counts of three examples of different lengths: a mean of means would differ.
OUTPUTS = [
    {"nll_sum": 2.0, "token_count": 1.0, "correct_count": 0.0, "completion": b"yes", "reference": b"yes"},
    {"nll_sum": 3.0, "token_count": 6.0, "correct_count": 6.0, "completion": b" yes\n", "reference": b"yes"},
    {"nll_sum": 0.5, "token_count": 4.0, "correct_count": 1.0, "completion": b"Yes", "reference": b"yes"},
]
EXPECTED = {"perplexity": math.exp(5.5 / 11), "token_accuracy": 7 / 11, "exact_match": 2 / 3}


def compute(name, outputs):
    entry = METRICS[name]
    metric = getattr(importlib.import_module(entry.module), entry.class_name)(name=name)
    (computation,) = metric.computations(model_names=["candidate"])
    combiner = computation.combiner
    accumulators = []
    for output in outputs:
        predictions = {key: np.array([value]) for key, value in output.items()}
        element = metric_types.StandardMetricInputs(predictions={"candidate": predictions})
        accumulators.append(combiner.add_input(combiner.create_accumulator(), element))
    accumulators.append(combiner.create_accumulator())
    (value,) = combiner.extract_output(combiner.merge_accumulators(accumulators)).values()
    return value


@pytest.mark.parametrize(("name", "expected"), EXPECTED.items())
def test_value(name, expected):
    assert compute(name, OUTPUTS) == pytest.approx(expected)


@pytest.mark.parametrize("name", EXPECTED)
def test_no_examples(name):
    assert math.isnan(compute(name, []))


def test_a_model_that_is_none_has_a_large_but_finite_perplexity():
    outputs = [{**OUTPUTS[0], "nll_sum": 1e6}]
    assert 1e300 < compute("perplexity", outputs) < math.inf


def test_every_own_metric_is_tested():
    own = {name for name, entry in METRICS.items() if entry.module.startswith("components")}
    assert own == set(EXPECTED)
