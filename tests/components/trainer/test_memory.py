"""`train.fit: auto`."""

import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from components.errors import UserError
from components.trainer import memory
from components.trainer.data import make_blank_step
from components.trainer.fine_tuner import FineTuner
from components.trainer.graph_memory import estimate_peak
from components.trainer.memory import cut_to_fit, measure_free_memory
from components.trainer.rematerialize import rematerialize

KIB = 1024


def estimate(function, *shapes, unknown=0):
    graph = tf.function(function, autograph=False).get_concrete_function(*map(tf.TensorSpec, shapes)).graph
    return estimate_peak(graph, unknown)


def test_tensors_count_while_they_live():
    def chain(x):  # 256 numbers are 1 KiB
        a = tf.matmul(x, x)  # 1
        b = tf.matmul(a, a)  # a and b: 2
        return tf.matmul(b, b)  # a has gone: b and this one

    assert estimate(chain, (16, 16)) == 2 * KIB


def test_tensors_that_are_needed_later_are_kept():
    def keep(x):
        a = tf.matmul(x, x)
        b = tf.matmul(a, a)
        c = tf.matmul(b, b)
        return tf.matmul(c, a)

    assert estimate(keep, (16, 16)) == 3 * KIB


def test_elementwise_operations_work_in_place_and_unneeded_ones_are_left_out():
    def work(x):
        tf.matmul(x, tf.ones((16, 1000)))
        return tf.exp(tf.reshape(tf.tanh(tf.matmul(x, x)), (4, 64)))

    assert estimate(work, (16, 16)) == KIB


def test_a_loop_needs_what_its_round_needs():
    def loop(x):
        return tf.while_loop(
            lambda i, y: i < 3, lambda i, y: (i + 1, tf.matmul(tf.matmul(y, x), x)), (0, x), parallel_iterations=1
        )[1]

    assert 2 * KIB <= estimate(loop, (16, 16)) <= 3 * KIB + 64


def test_unknown_sizes_are_what_they_are_said_to_be():
    assert estimate(lambda x: tf.matmul(x, x, transpose_a=True), (None, 16), unknown=7) == KIB
    assert estimate(lambda x: tf.matmul(x, tf.ones((16, 4))), (None, 16), unknown=7 * KIB) >= 7 * KIB


@pytest.mark.parametrize("in_function", [False, True])
def test_a_tensor_of_which_only_the_shape_is_needed_later_is_not_kept(in_function):
    def finish(c, a):
        return tf.reshape(tf.exp(c), tf.shape(tf.identity(a)))

    def work(x):
        a = tf.matmul(x, tf.ones((16, 16)))
        b = tf.matmul(a, tf.ones((16, 16)))
        c = tf.matmul(b, tf.ones((16, 16)))
        return (tf.function(finish, autograph=False) if in_function else finish)(c, a)

    graph = tf.function(work, autograph=False).get_concrete_function(tf.TensorSpec((None, 16))).graph
    assert estimate_peak(graph, 0, [(16, 16)]) == 2 * KIB + 8 * in_function  # `a` would be a third; 8: its shape


def test_a_transpose_that_moves_nothing_needs_nothing():
    assert estimate(lambda x: tf.transpose(tf.matmul(x, x), (0, 1)), (16, 16)) == KIB
    assert estimate(lambda x: tf.transpose(tf.matmul(x, x), (1, 0)), (16, 16)) == 2 * KIB


def test_outputs_of_several_identities_are_each_their_own_input():
    def work(x, y):
        _, b = tf.raw_ops.IdentityN(input=[tf.matmul(x, x), tf.matmul(y, y, transpose_b=True)])
        c = tf.matmul(b, b)
        return tf.matmul(tf.matmul(c, c), b)

    assert estimate(work, (16, 16), (32, 16)) == 3 * 4 * KIB


def test_sizes_are_found_through_floating_point_numbers_and_reshaped_repeats():
    """As rotary embeddings count positions, and as attention repeats the keys of a group."""

    def work(x):
        count = tf.shape(x)[0]
        positions = tf.range(0.0, tf.cast(count, tf.float32), 1.0)
        return tf.repeat(x, 3, axis=1) * positions[:, None, None]

    graph = tf.function(work, autograph=False).get_concrete_function(tf.TensorSpec((None, 4, 8))).graph
    assert estimate_peak(graph, 2**40, [(16, 4, 8)]) < 8 * 2 * KIB


@pytest.fixture
def make_engine_and_data(make_tiny_model, make_engine, make_datasets, train_section):
    def make():
        model = make_tiny_model()
        data, _ = make_datasets(bucket_boundaries=())
        return model, make_engine(FineTuner(model), train_section, 4), data

    return make


def test_the_estimate_grows_with_rows_and_length_and_shrinks_with_rematerialization(make_engine_and_data):
    model, engine, _ = make_engine_and_data()
    estimates = [engine.estimate_memory(1, *shape) for shape in ((2, 16), (4, 16), (4, 8))]
    assert estimates[0] < estimates[1]
    assert estimates[2] < estimates[1]
    before = engine.estimate_memory(1, 8192, 16)
    rematerialize(model)
    engine.forget_compiled()
    assert engine.estimate_memory(1, 8192, 16) < before


def test_more_than_two_thousand_million_numbers_can_be_reserved(make_engine_and_data, monkeypatch):
    """Sizes of tensors are 32-bit integers, those of a real model's step are not; memory that nothing touches costs nothing."""
    monkeypatch.setenv("TF_CPU_ALLOCATOR_USE_BFC", "1")
    make_engine_and_data()[1].reserve_memory(2**33 + 1)


def test_what_is_estimated_is_what_is_trained(make_engine_and_data):
    _, _, data = make_engine_and_data()
    cuts, rows, length = data.largest_shape
    step = next(iter(data.iterate()))
    blank = make_blank_step(cuts, rows, length)
    assert [(a.shape, a.dtype) for a in blank] == [(a.shape, a.dtype) for a in step]


class FakeEngine:
    """Needs 1 MiB a position and 10 MiB more."""

    num_replicas = 1

    def __init__(self):
        frozen, trained = keras.Variable(np.zeros(99)), keras.Variable(np.zeros(1))
        self.tuner = types.SimpleNamespace(weights=[frozen, trained], trainable_variables=[trained])
        self.per_position = 2**20

    def estimate_memory(self, num_micro_batches, rows, length):
        return rows * length * self.per_position + 10 * 2**20

    def reserve_memory(self, size):
        self.reserved = size

    def forget_compiled(self):
        self.per_position /= 4


@pytest.mark.parametrize(("mib", "cuts"), [(1000, 1), (138 / 0.85 + 1, 1), (138 / 0.85 - 1, 2), (27 / 0.85, 8)])
def test_a_step_is_cut_until_it_fits(make_datasets, mib, cuts):
    data, _ = make_datasets(bucket_boundaries=())  # batches of 8 x 16
    engine = FakeEngine()
    tokens = cut_to_fit(engine, data, 768, mib / 1024, None)
    needed = (128 // cuts + 10) * 2**20
    assert engine.reserved >= needed
    assert memory.dataclasses.replace(data, micro_batch_tokens=tokens).count_micro_batches(16) == cuts


def test_where_nothing_fits_the_error_says_what_would(make_datasets):
    data, _ = make_datasets(bucket_boundaries=())
    with pytest.raises(UserError) as error:
        cut_to_fit(FakeEngine(), data, 768, 20 / 0.85 / 1024, lambda: None)
    assert "one example of 16 tokens" in str(error.value)
    assert "allowed by train.memory_gib" in str(error.value)
    assert "text.max_length: 8" in str(error.value)
    assert "train.rematerialize: true (about 0.01 GiB)" in str(error.value)


def test_a_container_has_what_its_limit_leaves(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    unlimited = measure_free_memory()
    (tmp_path / "memory.max").write_text("max\n")
    assert measure_free_memory() > 2**20
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("700000\n")
    (tmp_path / "memory.stat").write_text("anon 1\ninactive_file 100000\n")
    assert measure_free_memory() == 400000 < unlimited


def test_the_more_is_trained_the_smaller_are_micro_batches(make_datasets):
    data, _ = make_datasets(bucket_boundaries=())
    engine = FakeEngine()
    assert cut_to_fit(engine, data, 768, 1000, None) == int(1024 / 1.01)
    engine.tuner.trainable_variables = engine.tuner.weights
    assert cut_to_fit(engine, data, 768, 1000, None) == 512
    # A wide model has room for few positions, and one at least.
    assert cut_to_fit(engine, data, 768 * 2048, 1000, None) == 1
