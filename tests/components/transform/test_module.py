"""The preprocessing function in a real TFT pass, with the committed schemas."""

import functools

import tensorflow as tf
import tensorflow_transform as tft

from components.transform.module import preprocessing_fn
from pipeline.training_nodes import TOKENIZED_SCHEMA

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
        "num_response_tokens": tf.io.FixedLenFeature([], tf.int64),
        "tokens_cut": tf.io.VarLenFeature(tf.int64),
        "template_specials": tf.io.VarLenFeature(tf.int64),
    }


def test_counts_for_the_receipt_pass_and_may_be_absent(apply_to_all, read_schema):
    fn = functools.partial(preprocessing_fn, custom_config={"cleaning": None})
    counted = {"tokens_cut": [7, 2], "template_specials": [3]}
    rows = [
        {"example_id": "a", "token_ids": [5, 0, 7], "target_mask": [0, 1, 1], **counted},
        {"example_id": "b", "token_ids": [9, 8], "target_mask": [1, 1]},
    ]
    (batch,) = apply_to_all(rows, fn, read_schema(TOKENIZED_SCHEMA))
    assert batch["num_response_tokens"] == [[2], [1]]  # the first token of the second row follows none
    assert [values or [] for values in batch["tokens_cut"]] == [[7, 2], []]
    assert [values or [] for values in batch["template_specials"]] == [[3], []]


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
