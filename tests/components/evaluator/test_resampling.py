"""Intervals by the bootstrap: as sums say, whatever the workers, and as often right as they promise."""

import json
import pickle

import numpy as np
import pytest

from components.evaluator.resampling import CHANGE, INTERVAL, ResampledMetric, Resampling
from components.metrics.metric import Prediction

MODELS = ["candidate", "baseline"]


def make_combiner(name="exact_match", **resampling):
    metric = ResampledMetric(
        name=name, options="{}", comparisons=json.dumps([MODELS]), resampling=json.dumps(resampling)
    )
    (computation,) = metric.computations(model_names=MODELS)
    return computation.combiner


def make_examples(*right):
    """Examples on which candidate and baseline are right or not."""
    return [
        (
            str(i),
            {
                m: Prediction(completion="yes" if r else "no", reference="yes")
                for m, r in zip(MODELS, pair, strict=True)
            },
        )
        for i, pair in enumerate(right)
    ]


def combine(combiner, examples, parts=1):
    accumulators = []
    for part in range(parts):
        accumulator = combiner.create_accumulator()
        for example in examples[part::parts]:
            accumulator = combiner.add_input(accumulator, example)
        accumulators.append(pickle.loads(pickle.dumps(accumulator)))  # as between workers
    output = combiner.extract_output(combiner.merge_accumulators(accumulators))
    return {(key.model_name, key.name): value for key, value in output.items()}


def test_values_and_change():
    output = combine(make_combiner(), make_examples((1, 0), (1, 1), (0, 0), (1, 0)))
    assert output["candidate", "exact_match"] == 0.75
    assert output["baseline", "exact_match"] == 0.25
    change, low, high = output["candidate", f"exact_match{CHANGE}baseline"]
    assert change == 0.5
    assert 0 <= low < change < high <= 1
    assert ("baseline", f"exact_match{CHANGE}candidate") not in output


def test_workers_and_order_change_nothing():
    examples = make_examples(*[(i % 3 == 0, i % 5 == 0) for i in range(50)])
    one = combine(make_combiner(), examples)
    many = combine(make_combiner(), examples[::-1], parts=7)
    assert one.keys() == many.keys()
    for key, value in one.items():
        np.testing.assert_allclose(value, many[key], rtol=1e-12)


def test_models_are_compared_pair_by_pair():
    # Apart, each model's value is uncertain; their change is none, as they are right on the same examples.
    examples = make_examples(*[(i % 2, i % 2) for i in range(40)])
    output = combine(make_combiner(), examples)
    low, high = output["candidate", "exact_match" + INTERVAL]
    assert high - low > 0.2
    assert list(output["candidate", f"exact_match{CHANGE}baseline"]) == [0, 0, 0]


def test_the_seed_decides():
    examples = make_examples(*[(i % 3 == 0, i % 5 == 0) for i in range(50)])
    key = ("candidate", "exact_match" + INTERVAL)
    assert list(combine(make_combiner(seed=1), examples)[key]) == list(combine(make_combiner(seed=1), examples)[key])
    assert list(combine(make_combiner(seed=1), examples)[key]) != list(combine(make_combiner(seed=2), examples)[key])


def test_intervals_hold_the_truth_as_often_as_they_say():
    """Of 300 samples of 60 examples, 95 % of the intervals hold the true share; 90 % of those at 0.9."""
    rng = np.random.default_rng(0)
    for confidence in (0.9, 0.95):
        resampling = Resampling(resamples=400, confidence=confidence)
        hits = 0
        for sample in range(300):
            right = rng.random(60) < 0.4
            weights = np.stack([resampling.draw_weights(f"{sample}/{i}") for i in range(60)])
            values = (right[:, None] * weights).sum(0) / weights.sum(0)
            low, high = resampling.find_interval(values)
            hits += low <= 0.4 <= high
        # Two standard errors of a share of 300, and a percent for the bootstrap's own error at 60 examples.
        assert hits / 300 == pytest.approx(confidence, abs=2 * np.sqrt(confidence * (1 - confidence) / 300) + 0.01)


def test_against_the_usual_bootstrap():
    rng = np.random.default_rng(0)
    scores = rng.random(200)
    resampling = Resampling(resamples=4000)
    weights = np.stack([resampling.draw_weights(str(i)) for i in range(200)])
    ours = resampling.find_interval((scores[:, None] * weights).sum(0) / weights.sum(0))
    draws = rng.choice(scores, (4000, 200)).mean(1)
    np.testing.assert_allclose(ours, np.quantile(draws, [0.025, 0.975]), atol=0.004)


def test_not_a_number_has_no_interval():
    examples = [("1", {m: Prediction(nll_sum=float("nan"), token_count=1.0) for m in MODELS})]
    output = combine(make_combiner("perplexity"), examples)
    assert np.isnan(output["candidate", "perplexity"])
    assert np.isnan(output["candidate", "perplexity" + INTERVAL]).all()
