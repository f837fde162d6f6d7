"""The preprocessing function in a real TFT pass, with the committed schemas."""

import tensorflow as tf
import tensorflow_transform as tft

PROMPT = "carried along elsewhere"


def test_weights_follow_the_mask_and_names_are_those_of_the_contract(transform, tmp_path):
    rows = transform(
        [
            {"example_id": "a", "token_ids": [5, 0, 7], "target_mask": [0, 1, 1], "prompt": PROMPT},
            {"example_id": "b", "token_ids": [9, 8], "target_mask": [0, 1], "prompt": PROMPT},
        ]
    )
    assert sorted(rows) == [([5, 0, 7], [0.0, 1.0, 1.0]), ([9, 8], [0.0, 1.0])]
    spec = tft.TFTransformOutput(str(tmp_path / "graph")).transformed_feature_spec()
    assert spec == {
        "token_ids": tf.io.VarLenFeature(tf.int64),
        "loss_weight": tf.io.VarLenFeature(tf.float32),
        "example_id": tf.io.FixedLenFeature([], tf.string),
    }


def test_the_lower_scored_response_tokens_lose_their_weight_and_nothing_else_does(transform):
    train = [
        {"example_id": "a", "token_ids": [1, 2, 3, 4], "target_mask": [0, 1, 1, 1], "token_influence": [9.0, 5, -1, 4]},
        # The first token is a target that nothing predicts: not counted, and its weight is never used.
        {"example_id": "b", "token_ids": [5, 6, 7], "target_mask": [1, 1, 1], "token_influence": [-9.0, 3, 2]},
    ]
    evaluation = {"example_id": "c", "token_ids": [8, 9, 8, 9, 8], "target_mask": [0, 1, 1, 1, 1]}  # no scores
    rows = transform([*train, evaluation], {"keep": 0.6, "scope": "dataset"}, analyze=2)
    assert sorted(rows) == [
        ([1, 2, 3, 4], [0, 1, 0, 1]),
        ([5, 6, 7], [1, 1, 0]),
        ([8, 9, 8, 9, 8], [0, 1, 1, 1, 1]),
    ]


def test_per_sample_every_example_keeps_its_own_top_share(transform):
    train = [
        {
            "example_id": "a",
            "token_ids": [1, 2, 3, 4, 5, 6],
            "target_mask": [0, 1, 1, 1, 1, 1],
            "token_influence": [9.0, 1, 5, 4, 2, 3],
        },
        {
            "example_id": "b",
            "token_ids": [7, 7, 7, 7, 7, 8],
            "target_mask": [0, 1, 1, 1, 1, 1],
            "token_influence": [9.0, 10, 10, 10, 10, 90],
        },
    ]
    evaluation = {"example_id": "c", "token_ids": [9, 9], "target_mask": [0, 1]}
    rows = transform([*train, evaluation], {"keep": 0.6, "scope": "sample"}, analyze=2)
    assert sorted(rows) == [
        ([1, 2, 3, 4, 5, 6], [0, 0, 1, 1, 0, 1]),
        ([7, 7, 7, 7, 7, 8], [0, 1, 1, 0, 0, 1]),
        ([9, 9], [0, 1]),
    ]
