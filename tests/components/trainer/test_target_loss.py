"""The chunked loss against the plain one: TensorFlow's own cross-entropy on all logits, and its automatic gradients."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from components.trainer import target_loss
from components.trainer.target_loss import Projection


def sum_losses(rows, targets, weight, *args, **kwargs):
    """One group of rows."""
    return target_loss.sum_losses(rows[None], targets[None], weight[None], *args, **kwargs)


NUM_ROWS, WIDTH, VOCABULARY_SIZE, NUM_TARGETS = 37, 8, 101, 23


@pytest.fixture(params=["static of 10", "static of 5", "even"])
def static_shapes(request, monkeypatch):
    """Chunks of 10 rows, limited by their logits; of 5, an eighth of the rows; of 8, as 23 targets are cut evenly."""
    if request.param != "static of 5":
        monkeypatch.setattr(target_loss, "LOGITS_PER_CHUNK", 10 * VOCABULARY_SIZE + 7)
        monkeypatch.setattr(target_loss, "_MIN_CHUNKS", 1)
    return request.param != "even"


@pytest.fixture
def problem():
    """Returns rows, kernel (vocabulary first), targets, weight."""
    rng = np.random.default_rng(0)
    rows, kernel = rng.normal(size=(NUM_ROWS, WIDTH)), rng.normal(size=(VOCABULARY_SIZE, WIDTH))
    weight = np.where(np.arange(NUM_ROWS) < NUM_TARGETS, rng.random(NUM_ROWS) + 0.1, 0)
    targets = rng.integers(0, VOCABULARY_SIZE, NUM_ROWS)
    return rows.astype("float32"), kernel.astype("float32"), targets.astype("int32"), weight.astype("float32")


def differentiate(compute, rows, kernel, is_transposed, jit_compile):
    """Returns the loss and its gradients by rows and kernel; None for what is not connected."""
    rows = tf.Variable(rows)
    kernel = tf.Variable(kernel.T if is_transposed else kernel)

    @tf.function(jit_compile=jit_compile)
    def run():
        with tf.GradientTape() as tape:
            loss = compute(tf.convert_to_tensor(rows), tf.convert_to_tensor(kernel))
            scaled = 3.0 * loss  # what comes from above must reach the gradients
        return loss, tape.gradient(scaled, [rows, kernel])

    loss, gradients = run()
    return float(loss), [gradient.numpy() for gradient in gradients]


def test_the_number_of_rows_may_be_unknown_when_it_is_traced(problem):
    rows, kernel, targets, weight = (tf.constant(array) for array in problem)
    projection = Projection(kernel, False, True, None, "float32")

    @tf.function(input_signature=[tf.TensorSpec([None, WIDTH]), tf.TensorSpec([None], tf.int32), tf.TensorSpec([None])])
    def run(rows, targets, weight):
        with tf.GradientTape() as tape:
            tape.watch(rows)
            loss = sum_losses(rows, targets, weight, projection, with_gradient=True, static_shapes=False)
        return loss, tape.gradient(loss, rows)

    with tf.GradientTape() as tape:
        tape.watch(rows)
        expected = sum_losses(rows, targets, weight, projection, with_gradient=True, static_shapes=False)
    loss, gradient = run(rows, targets, weight)
    assert float(loss) == pytest.approx(float(expected), rel=1e-6)
    np.testing.assert_allclose(gradient, tape.gradient(expected, rows), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("soft_cap", [None, 3.0])
@pytest.mark.parametrize("is_transposed", [False, True])
def test_loss_and_gradients_are_those_of_all_logits(problem, static_shapes, is_transposed, soft_cap, jit_compile):
    if jit_compile and not static_shapes:
        pytest.skip("XLA needs chunks of one size")
    rows, kernel, targets, weight = problem

    def plain(rows, kernel):
        logits = tf.matmul(rows, kernel, transpose_b=not is_transposed)
        logits = logits if soft_cap is None else soft_cap * tf.tanh(logits / soft_cap)
        return tf.reduce_sum(tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits) * weight)

    def chunked(rows, kernel):
        projection = Projection(kernel, is_transposed, True, soft_cap, "float32")
        return sum_losses(rows, targets, weight, projection, with_gradient=True, static_shapes=static_shapes)

    expected = differentiate(plain, rows, kernel, is_transposed, jit_compile)
    received = differentiate(chunked, rows, kernel, is_transposed, jit_compile)
    assert received[0] == pytest.approx(expected[0], rel=1e-5)
    for mine, theirs in zip(received[1], expected[1], strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("is_transposed", [False, True])
def test_groups_of_rows_are_as_one(problem, static_shapes, is_transposed):
    """Two groups with unequal numbers of targets: 23 of 37 and 9 of 37."""
    rows, kernel, targets, weight = problem
    second = rows[::-1].copy(), targets[::-1].copy(), np.where(np.arange(NUM_ROWS) < 9, 0.7, 0).astype("float32")
    grouped = [np.stack(pair) for pair in zip((rows, targets, weight), second, strict=True)]

    def together(rows, kernel):
        projection = Projection(kernel, is_transposed, True, None, "float32")
        settings = {"with_gradient": True, "static_shapes": static_shapes}
        return target_loss.sum_losses(rows, grouped[1], grouped[2], projection, **settings)

    def one_by_one(rows, kernel):
        projection = Projection(kernel, is_transposed, True, None, "float32")
        settings = {"with_gradient": True, "static_shapes": static_shapes}
        return sum(sum_losses(*(a[i] for a in (rows, *grouped[1:])), projection, **settings) for i in range(2))

    expected = differentiate(one_by_one, grouped[0], kernel, is_transposed, False)
    received = differentiate(together, grouped[0], kernel, is_transposed, False)
    assert received[0] == pytest.approx(expected[0], rel=1e-5)
    for mine, theirs in zip(received[1], expected[1], strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-5)


def test_without_gradient_it_is_the_same_number(problem, static_shapes):
    rows, kernel, targets, weight = (tf.constant(array) for array in problem)
    projection = Projection(kernel, False, True, None, "float32")
    with_gradient = sum_losses(rows, targets, weight, projection, with_gradient=True, static_shapes=static_shapes)
    assert float(
        sum_losses(rows, targets, weight, projection, with_gradient=False, static_shapes=static_shapes)
    ) == float(with_gradient)


def test_rows_behind_the_last_target_are_not_computed(problem, static_shapes):
    rows, kernel, targets, weight = problem
    rows[30:] = np.nan  # 23 targets are three chunks of 10 or 8, or five of 5
    projection = Projection(tf.constant(kernel), False, True, None, "float32")
    arguments = tf.constant(rows), tf.constant(targets), tf.constant(weight), projection
    assert np.isfinite(float(sum_losses(*arguments, with_gradient=True, static_shapes=static_shapes)))


def test_a_frozen_kernel_costs_no_gradient(problem, static_shapes):
    rows, kernel, targets, weight = (tf.constant(array) for array in problem)

    def trace(is_trained):
        def compute(rows, kernel):
            projection = Projection(kernel, False, is_trained, None, "float32")
            return sum_losses(rows, targets, weight, projection, with_gradient=True, static_shapes=static_shapes)

        graph = tf.function(compute).get_concrete_function(rows, kernel).graph
        bodies = [function.definition for function in graph._functions.values()] if hasattr(graph, "_functions") else []
        return sum(node.op == "MatMul" for body in bodies for node in body.node_def)

    assert trace(True) - trace(False) == 1


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_small_weights_survive_half_precision(problem, static_shapes, dtype):
    rows, kernel, targets, weight = problem
    weight = weight * 1e-7  # below what float16 can tell from 0

    def compute(dtype):
        def chunked(rows, kernel):
            projection = Projection(kernel, False, True, None, dtype)
            return sum_losses(rows, targets, weight, projection, with_gradient=True, static_shapes=static_shapes)

        return differentiate(chunked, rows, kernel, False, False)

    expected, received = compute("float32"), compute(dtype)
    assert received[0] == pytest.approx(expected[0], rel=0.02)
    for mine, theirs in zip(received[1], expected[1], strict=True):
        assert np.abs(mine - theirs).max() < 0.03 * np.abs(theirs).max()


def test_no_array_holds_all_logits():
    num_rows, vocabulary_size, static_shapes = 8192, 4096, True  # so that sizes are known
    rows = tf.zeros((num_rows, WIDTH))
    projection = Projection(tf.zeros((vocabulary_size, WIDTH)), False, True, None, "float32")
    weight, targets = tf.ones(num_rows), tf.zeros(num_rows, tf.int32)

    def compute(rows):
        return sum_losses(rows, targets, weight, projection, with_gradient=True, static_shapes=static_shapes)

    graph = tf.function(compute).get_concrete_function(rows).graph
    bodies = [graph, *(f.graph for f in graph._functions.values() if hasattr(f, "graph"))]
    sizes = [t.shape.num_elements() or 0 for body in bodies for op in body.get_operations() for t in op.outputs]
    assert max(sizes) <= target_loss.LOGITS_PER_CHUNK < num_rows * vocabulary_size


def test_gradients_reach_the_layers_of_a_model(make_tiny_model):
    """Same loss and gradients as the whole model with Keras' cross-entropy."""
    from components.trainer.fine_tuner import FineTuner

    model = make_tiny_model()
    tuner = FineTuner(model)
    inputs = {"token_ids": np.int32([[3, 1, 4, 1], [9, 2, 6, 0]]), "padding_mask": np.int32([[1] * 4, [1, 1, 1, 0]])}
    positions, targets = np.int32([1, 2, 5, 0, 3, 4, 6, 7]), np.int32([4, 1, 6, 0, 0, 0, 0, 0])
    weight = np.float32([1, 0.5, 2, 0, 0, 0, 0, 0])
    with tf.GradientTape() as tape:
        logits = tf.gather(tf.reshape(model(inputs), (8, -1)), positions)
        plain = tf.reduce_sum(tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits) * weight)
    variables = [variable.value for variable in model.trainable_variables]
    expected = [tf.convert_to_tensor(gradient) for gradient in tape.gradient(plain, variables)]
    with tf.GradientTape() as tape:
        loss_inputs = positions[None], targets[None], weight[None]
        loss = tuner.sum_losses(inputs, loss_inputs, training=True, static_shapes=False)
    received = [tf.convert_to_tensor(gradient) for gradient in tape.gradient(loss, variables)]
    assert float(loss) == pytest.approx(float(plain), rel=1e-5)
    assert len(received) == len(model.trainable_variables) > 20
    for mine, theirs in zip(received, expected, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-3, atol=1e-6)
    assert keras.backend.backend() == "tensorflow"
