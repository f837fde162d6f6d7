"""The share that is kept, on scores of every kind."""

import numpy as np
import pytest


def make_examples(draw, num_examples=500, seed=0):
    rng = np.random.default_rng(seed)
    examples = []
    for i in range(num_examples):
        num_response = int(rng.integers(1, 12))
        length = num_response + 2
        examples.append(
            {
                "example_id": f"id{i}",
                "token_ids": [i, *range(1, length)],
                "target_mask": [0, 0] + [1] * num_response,
                "token_influence": [50.0, -50.0, *draw(rng, num_response).astype("float32").tolist()],
            }
        )
    return examples


DRAWS = {
    "continuous": lambda rng, n: rng.standard_t(3, n),
    "all equal": lambda rng, n: np.zeros(n),
    "a third tied at the cut": lambda rng, n: np.where(rng.random(n) < 0.35, 0.0, rng.normal(size=n) - 0.1),
    "two values": lambda rng, n: rng.integers(0, 2, n),
    "huge and tiny": lambda rng, n: rng.choice([-3e38, 3e38, 1e-30, -1e-30], n),
}


@pytest.mark.parametrize("keep", [0.6, 0.137])
@pytest.mark.parametrize("draw", DRAWS, ids=str)
def test_the_top_share_is_kept_whatever_the_scores(transform, draw, keep):
    examples = make_examples(DRAWS[draw])
    rows = {ids[0]: weights for ids, weights in transform(examples, {"keep": keep, "scope": "dataset"})}
    scores = np.concatenate([e["token_influence"][2:] for e in examples]).astype("float32")
    kept = np.concatenate([rows[e["token_ids"][0]][2:] for e in examples]) > 0
    assert abs(kept.mean() - keep) < 0.0015  # quantiles, and whole tokens; 0.005 is promised
    assert scores[kept].min() >= scores[~kept].max()
    assert not any(any(weights[:2]) for weights in rows.values())


@pytest.mark.parametrize(("keep", "expected"), [(1.0, 1.0), (0.0001, 0.0)])
def test_extremes(transform, keep, expected):
    rows = transform(make_examples(DRAWS["continuous"], 100), {"keep": keep, "scope": "dataset"})
    assert np.mean([w for _, weights in rows for w in weights[2:]]) == pytest.approx(expected, abs=0.003)


def test_per_sample_the_share_is_kept_over_all_and_the_best_of_each(transform):
    examples = make_examples(DRAWS["continuous"])
    rows = {ids[0]: np.array(weights[2:]) for ids, weights in transform(examples, {"keep": 0.6, "scope": "sample"})}
    total = kept = 0
    for example in examples:
        scores, weights = np.array(example["token_influence"][2:]), rows[example["token_ids"][0]]
        total, kept = total + len(weights), kept + weights.sum()
        assert abs(weights.sum() - 0.6 * len(weights)) < 1
        if 0 < weights.sum() < len(weights):
            assert scores[weights > 0].min() >= scores[weights == 0].max()
    assert abs(kept / total - 0.6) < 0.001


def test_which_tied_tokens_are_kept_does_not_depend_on_the_order_of_the_examples(transform, tmp_path):
    examples = make_examples(DRAWS["all equal"], 60)
    cleaning = {"keep": 0.5, "scope": "dataset"}
    assert sorted(transform(examples, cleaning)) == sorted(transform(examples[::-1], cleaning))
