import numpy as np
import pytest
import tensorflow as tf

from components.errors import UserError
from components.splits import read_records
from components.trainer.data import make_dataset, read_examples, shift

COMMON = {"max_length": 6, "vocabulary_size": 64, "pad_token_id": 9}


def spread(step, values):
    """Values of the step's positions in the places where they belong, 0 elsewhere: (A, R, rows, sequence_length)."""
    dense = np.zeros((*step.token_ids.shape[:2], step.token_ids[0, 0].size), values.dtype)
    np.put_along_axis(dense, step.positions, values, axis=2)
    return dense.reshape(step.token_ids.shape)


def test_position_t_is_trained_to_predict_token_t_plus_1():
    # prompt 11 12 13, response 21 22, end 1
    inputs, targets, weight = shift([11, 12, 13, 21, 22, 1], [0, 0, 0, 1, 1, 1])
    assert inputs == [11, 12, 13, 21, 22]
    assert targets == [12, 13, 21, 22, 1]
    assert weight == [0, 0, 1, 1, 1]  # the last prompt token predicts the first of the response


def test_a_step_by_eye(write_examples):
    pattern = write_examples(
        [
            ([11, 12, 21, 22, 1], [0, 0, 1, 1, 1]),
            ([13, 23, 1], [0, 1, 1]),
            ([14, 15, 24, 1], [0, 0, 1, 1]),
            ([16, 25], [0, 0.5]),
        ]
    )
    data = make_dataset([pattern], batch_size=2, bucket_boundaries=[3, 100], **COMMON)
    assert data.sequence_lengths == (3, 6)
    first, second, third = sorted(
        data.iterate(), key=lambda step: (step.token_ids.shape[3], step.token_ids[0, 0, 0, 0])
    )

    np.testing.assert_array_equal(first.token_ids, [[[[13, 23, 9], [14, 15, 24]]]])
    np.testing.assert_array_equal(first.padding_mask, [[[[1, 1, 0], [1, 1, 1]]]])
    np.testing.assert_array_equal(first.positions, [[[0, 1, 4, 5, 2, 3]]])  # targets first
    np.testing.assert_array_equal(first.targets, [[[23, 1, 24, 1, 9, 15]]])
    np.testing.assert_array_equal(first.sample_weight, [[[1, 1, 1, 1, 0, 0]]])
    assert (first.num_tokens, first.num_target_tokens) == (5, 4)

    np.testing.assert_array_equal(second.token_ids, [[[[16, 9, 9], [9, 9, 9]]]])  # filled up to the batch size
    np.testing.assert_array_equal(second.padding_mask, [[[[1, 0, 0], [1, 0, 0]]]])
    np.testing.assert_array_equal(spread(second, second.sample_weight), [[[[0.5, 0, 0], [0, 0, 0]]]])
    assert (second.num_tokens, second.num_target_tokens) == (1, 1)

    np.testing.assert_array_equal(third.token_ids[0, 0, 0], [11, 12, 21, 22, 9, 9])
    assert data.steps_per_epoch == 3
    assert data.statistics.examples_by_length == (0, 1, 1, 1, 1, 0)
    assert data.padding_share == pytest.approx(1 - 10 / (2 * 2 * 3 + 2 * 6))  # one row of the second fills up
    assert data.statistics.num_tokens == 4 + 2 + 3 + 1
    assert data.statistics.num_target_tokens == 3 + 2 + 2 + 1
    assert {array.dtype.name for array in first} == {"int32", "float32"}


@pytest.mark.parametrize(("accumulation_steps", "num_shards"), [(2, 1), (1, 2), (2, 2)])
def test_normalized_weights_make_the_sum_over_all_parts_the_mean_per_target_token(
    make_split, accumulation_steps, num_shards
):
    settings = {"bucket_boundaries": [8, 12], "max_length": 16, "vocabulary_size": 64, "batch_size": 8}
    pattern = make_split()
    parts = {"accumulation_steps": accumulation_steps, "num_shards": num_shards}
    data, plain = make_dataset([pattern], normalize=True, **parts, **settings), make_dataset([pattern], **settings)
    for step, one in zip(data.iterate(), plain.iterate(), strict=True):
        assert step.token_ids.shape == (*parts.values(), 8 // (accumulation_steps * num_shards), one.token_ids.shape[3])
        np.testing.assert_array_equal(step.token_ids.reshape(one.token_ids.shape), one.token_ids)
        expected = spread(one, one.sample_weight) / one.sample_weight.sum()
        received = spread(step, step.sample_weight).reshape(expected.shape)
        np.testing.assert_allclose(received, expected, rtol=1e-6)
        assert (step.num_tokens, step.num_target_tokens) == (one.num_tokens, one.num_target_tokens)


def test_a_batch_that_cannot_be_divided_is_refused(make_split):
    settings = {"bucket_boundaries": [], "max_length": 16, "vocabulary_size": 64}
    with pytest.raises(UserError, match=r"Received: 8 for 2 x 3\. Set train\.batch_size to 12"):
        make_dataset([make_split()], batch_size=8, accumulation_steps=2, num_shards=3, **settings)


def test_examples_of_a_step_are_named_and_kept_one_by_one(make_split):
    settings = {"bucket_boundaries": [8, 12], "max_length": 16, "vocabulary_size": 64, "batch_size": 8}
    data = make_dataset([make_split()], shuffle=True, accumulation_steps=2, num_shards=2, seed=3, **settings)
    seen = []
    for number, step in enumerate(data.iterate(last=2 * data.steps_per_epoch)):
        names, rows = data.name_examples(number), step.list_rows()
        assert len(names) == len(rows) == len(set(names))
        seen += names
        kept = sum(spread(step.keep_row(row), step.keep_row(row).sample_weight) for row in rows)
        np.testing.assert_array_equal(kept, spread(step, step.sample_weight))
        one = step.keep_row(rows[-1])
        assert (np.diff(one.sample_weight, axis=-1) <= 0).all(), "targets come first"
        assert set(np.argwhere(spread(one, one.sample_weight).reshape(8, -1))[:, 0]) == {rows[-1]}
    assert sorted(seen[: len(seen) // 2]) == sorted(f"train-{i}" for i in range(37))


def collect(data, **kwargs):
    return [
        (step.token_ids.tolist(), step.positions.tolist(), step.sample_weight.tolist())
        for step in data.iterate(**kwargs)
    ]


def test_every_example_comes_once_an_epoch_in_static_shapes(make_datasets):
    train, evaluation = make_datasets()
    for data in (train, evaluation):
        steps = list(data.iterate())
        assert len(steps) == data.steps_per_epoch
        assert {step.token_ids.shape[:3] for step in steps} == {(1, 1, data.batch_size)}
        assert {step.token_ids.shape[3] for step in steps} <= {8, 12, 16}
        assert sum(step.num_target_tokens for step in steps) == data.statistics.num_target_tokens
        assert sum(step.num_tokens for step in steps) == data.statistics.num_tokens


def test_order_differs_by_epoch_is_the_same_each_run_and_resumes_anywhere(make_datasets):
    data, _ = make_datasets()
    n = data.steps_per_epoch
    everything = collect(data, first=0, last=2 * n)
    assert len(everything) == 2 * n
    assert everything[:n] != everything[n:]
    assert sorted(len(x[0][0][0]) for x in everything[:n]) == sorted(len(x[0][0][0]) for x in everything[n:])
    assert collect(data, first=0, last=2 * n) == everything
    for first in (1, n - 1, n, n + 2):
        assert collect(data, first=first, last=2 * n) == everything[first:]
    assert collect(data, first=3, last=3) == []


def test_examples_without_a_target_are_left_out_and_a_split_of_only_these_is_refused(write_examples):
    nothing = ([1, 2, 3], [0, 0, 0])
    only_the_first = ([1, 2, 3], [1, 0, 0])  # no position predicts the first token
    pattern = write_examples([nothing, only_the_first, ([4, 5], [0, 1])])
    data = make_dataset([pattern], batch_size=2, bucket_boundaries=[], **COMMON)
    assert (data.statistics.num_examples, data.statistics.num_without_target) == (1, 2)
    assert [step.num_tokens for step in data.iterate()] == [1]
    pattern = write_examples([nothing, only_the_first, ([], [])], split="bad")
    with pytest.raises(UserError, match=r"Split-bad: no token is a training target \(3 examples"):
        make_dataset([pattern], batch_size=2, bucket_boundaries=[], **COMMON)


@pytest.mark.parametrize(
    ("example", "message"),
    [
        (([1] * 7, [1] * 7), r"at most 6 tokens .*Received: 7"),
        (([1, 64], [0, 1]), r"lie in \[0, 64\).*1 to 64"),
        (([1, 2, 3], [0, 1]), "same length"),
        (([1, 2], [0, -1]), "finite and at least 0"),
    ],
)
def test_examples_that_do_not_fit_are_refused(write_examples, example, message):
    with pytest.raises(UserError, match=message):
        make_dataset([write_examples([example])], batch_size=2, bucket_boundaries=[], **COMMON)


def test_a_pattern_without_files_is_an_error(tmp_path):
    with pytest.raises(UserError, match="no file matches"):
        make_dataset([str(tmp_path / "*")], batch_size=2, bucket_boundaries=[], **COMMON)


@pytest.mark.parametrize(
    ("limit", "at_least", "expected"),
    [(None, 1, [1, 1]), (64, 1, [1, 2]), (63, 1, [2, 4]), (1, 1, [8, 8]), (128, 2, [2, 2]), (None, 4, [4, 4])],
)
def test_long_steps_are_cut_into_more_micro_batches(make_split, limit, at_least, expected):
    settings = COMMON | {"batch_size": 8, "bucket_boundaries": [8], "max_length": 16}
    data = make_dataset([make_split()], accumulation_steps=at_least, micro_batch_tokens=limit, **settings)
    assert [data.count_micro_batches(length) for length in (8, 16)] == expected
    for step in data.iterate():
        cuts = expected[0] if step.token_ids.shape[-1] == 8 else expected[1]
        assert step.token_ids.shape[:3] == (cuts, 1, 8 // cuts)
        assert step.positions.shape == (cuts, 1, 8 // cuts * step.token_ids.shape[-1])
    largest = data.largest_shape
    assert largest[0] * largest[1] == 8


def test_no_iterator_waits_for_the_tuner_of_tf_data(make_split, monkeypatch):
    """Its thread sleeps for seconds, and the end of an iterator waits for it."""
    asked = []
    as_iterator = tf.data.Dataset.as_numpy_iterator

    def note(dataset):
        asked.append(dataset.options().autotune.enabled)
        return as_iterator(dataset)

    monkeypatch.setattr(tf.data.Dataset, "as_numpy_iterator", note)
    pattern = make_split()
    data = make_dataset([pattern], bucket_boundaries=[], max_length=16, vocabulary_size=64, batch_size=8)
    next(data.iterate())
    data.name_examples(0)
    read_examples([pattern], 1)
    next(read_records(data.files[0]))
    assert asked == [False] * 4
