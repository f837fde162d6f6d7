"""The share that is kept, on scores of every kind. All kinds are columns of one data set, so that one pass cuts them all."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_metadata.proto.v0 import schema_pb2

from components.transform.cut import cut_dataset, cut_samples, hash_places

DRAWS = {
    "continuous": lambda rng, n: rng.standard_t(3, n),
    "all_equal": lambda rng, n: np.zeros(n),
    "a_third_tied_at_the_cut": lambda rng, n: np.where(rng.random(n) < 0.35, 0.0, rng.normal(size=n) - 0.1),
    "two_values": lambda rng, n: rng.integers(0, 2, n),
    "huge_and_tiny": lambda rng, n: rng.choice([-3e38, 3e38, 1e-30, -1e-30], n),
}
KEEPS = (0.6, 0.137, 1.0, 0.0001)


def make_examples(num_examples=500, seed=0):
    """Examples of 2 prompt tokens and 1 to 11 response tokens, with a column of scores for each kind."""
    rng = np.random.default_rng(seed)
    examples = []
    for i in range(num_examples):
        num_response = int(rng.integers(1, 12))
        scores = {name: draw(rng, num_response).astype("float32").tolist() for name, draw in DRAWS.items()}
        examples.append(
            {
                "example_id": f"id{i}",
                "token_ids": [i, *range(1, num_response + 2)],
                "target_mask": [0, 0] + [1] * num_response,
                # Scores of prompt tokens must not count.
                **{name: [50.0, -50.0, *values] for name, values in scores.items()},
            }
        )
    return examples


def make_schema():
    schema = schema_pb2.Schema(represent_variable_length_as_ragged=True)
    for name in ("token_ids", "target_mask"):
        schema.feature.add(name=name, type=schema_pb2.INT)
    for name in DRAWS:
        schema.feature.add(name=name, type=schema_pb2.FLOAT)
    schema.feature.add(name="example_id", type=schema_pb2.BYTES, shape={}, presence={"min_fraction": 1})
    return schema


def cut_everything(inputs):
    """One output a kind, share and scope: 1 on kept tokens."""
    ids, mask = inputs["token_ids"], inputs["target_mask"]
    is_candidate = mask.with_flat_values(mask.flat_values > 0)
    places = hash_places(inputs["example_id"], ids)
    outputs = {"token_ids": ids.to_sparse()}
    for name in DRAWS:
        for keep in KEEPS if name == "continuous" else KEEPS[:2]:
            kept = cut_dataset(inputs[name].flat_values, is_candidate.flat_values, places.flat_values, keep)
            outputs[f"{name} {keep}"] = ids.with_flat_values(tf.cast(kept, tf.int64)).to_sparse()
    for name in ("continuous", "all_equal"):
        kept = cut_samples(inputs[name], is_candidate, inputs["example_id"], 0.6)
        outputs[f"{name} sample"] = ids.with_flat_values(tf.cast(kept, tf.int64)).to_sparse()
    return outputs


@pytest.fixture(scope="module")
def examples():
    return make_examples()


_KEPT: dict = {}


@pytest.fixture
def kept(examples, apply_to_all):
    """Kept tokens by output, each a dict from an example's number to its list of 0 and 1."""
    if not _KEPT:  # one pass for all tests, with the function-scoped fixture of the folder
        for batch in apply_to_all(examples, cut_everything, make_schema()):
            for name in set(batch) - {"token_ids"}:
                _KEPT.setdefault(name, {}).update(
                    {ids[0]: row for ids, row in zip(batch["token_ids"], batch[name], strict=True)}
                )
    return _KEPT


@pytest.mark.parametrize("keep", KEEPS[:2])
@pytest.mark.parametrize("name", DRAWS)
def test_the_top_share_is_kept_whatever_the_scores(examples, kept, name, keep):
    rows = kept[f"{name} {keep}"]
    scores = np.concatenate([e[name][2:] for e in examples]).astype("float32")
    is_kept = np.concatenate([rows[e["token_ids"][0]][2:] for e in examples]) > 0
    assert abs(is_kept.mean() - keep) < 0.0015  # of quantiles, and of whole tokens; 0.005 is promised
    assert scores[is_kept].min() >= scores[~is_kept].max()
    assert not any(any(row[:2]) for row in rows.values())


@pytest.mark.parametrize(("keep", "expected"), [(1.0, 1.0), (0.0001, 0.0)])
def test_extremes(kept, keep, expected):
    share = np.mean([k for row in kept[f"continuous {keep}"].values() for k in row[2:]])
    assert share == pytest.approx(expected, abs=0.001)


@pytest.mark.parametrize("name", ["continuous", "all_equal"])
def test_per_sample_the_share_is_kept_over_all_and_the_best_of_each(examples, kept, name):
    total = num_kept = 0
    for example in examples:
        scores, row = np.array(example[name][2:]), np.array(kept[f"{name} sample"][example["token_ids"][0]][2:])
        total, num_kept = total + len(row), num_kept + row.sum()
        assert abs(row.sum() - 0.6 * len(row)) < 1
        if 0 < row.sum() < len(row):
            assert scores[row > 0].min() >= scores[row == 0].max()
        if name == "all_equal":
            assert row.tolist() == sorted(row, reverse=True)  # the first ones of tied tokens
    assert abs(num_kept / total - 0.6) < 0.001


def test_places_look_random_and_belong_to_the_example():
    ids = tf.ragged.constant([[7] * 30] * 200)
    names = tf.constant([f"id{i}" for i in range(200)])
    places = hash_places(names, ids)
    values = np.sort(places.flat_values.numpy())
    assert values.min() >= 0 and values.max() < 1
    assert np.abs(values - np.linspace(0, 1, len(values))).max() < 0.02  # uniform
    dense = places.to_tensor().numpy()  # (examples, positions)
    assert abs(np.corrcoef(dense[:, 0], dense[:, 1])[0, 1]) < 0.2
    other_order = hash_places(names[::-1], ids).to_tensor().numpy()[::-1]
    np.testing.assert_array_equal(other_order, dense)
