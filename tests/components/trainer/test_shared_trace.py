"""One trace for all blocks, and one for all shapes: fewer traces, the same numbers."""

import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from components.methods import make_method
from components.trainer.fine_tuner import FineTuner
from components.trainer.model import list_generators
from components.trainer.rematerialize import rematerialize
from components.trainer.shared_trace import describe_layer, restore_calls, share_trace

INPUTS = {"token_ids": np.arange(1, 17, dtype="int32").reshape(2, 8), "padding_mask": np.ones((2, 8), "int32")}


def make_gemma3():
    """Six blocks, of which the last attends to all positions, the others to a window."""
    keras.utils.set_random_seed(0)
    backbone = keras_hub.models.Gemma3Backbone(
        vocabulary_size=64,
        image_size=16,
        num_layers=6,
        num_query_heads=2,
        num_key_value_heads=1,
        hidden_dim=16,
        intermediate_dim=32,
        head_dim=8,
        sliding_window_size=4,
        use_sliding_window_attention=True,
        vision_encoder=None,
    )
    return keras_hub.models.Gemma3CausalLM(backbone=backbone, preprocessor=None)


def count_blocks(model):
    """How many different blocks there are, and how often each occurs."""
    kinds = [describe_layer(block) for block in model.backbone.transformer_layers]
    return sorted(kinds.count(kind) for kind in set(kinds))


def train(make_tiny_model, make_engine, make_datasets, section, *, shared, method="lora", remat=False, xla=False):
    model = make_tiny_model(dropout=0.0 if xla else 0.2)
    make_method(method, {}).apply(model)
    if shared:
        share_trace(model)
    if remat:
        rematerialize(model)
    engine = make_engine(FineTuner(model), section, 3, jit_compile=xla)
    data, _ = make_datasets(accumulation_steps=2, bucket_boundaries=())
    losses = [engine.train(step).loss for step in data.iterate(last=3)]
    evaluation = engine.evaluate(next(data.iterate(last=1)))
    values = [ops.convert_to_numpy(v) for v in [*engine.tuner.weights, *list_generators(engine.tuner)]]
    return losses, evaluation, values


@pytest.mark.parametrize(
    ("method", "remat", "xla"), [("full", False, False), ("lora", True, False), ("lora", False, True)]
)
def test_a_shared_trace_changes_no_number(
    make_tiny_model, make_engine, make_datasets, train_section, method, remat, xla
):
    """Dropout is on: a block's generators draw the same numbers, and are left in the same state."""
    common = (make_tiny_model, make_engine, make_datasets, train_section)
    plain = train(*common, shared=False, method=method, xla=xla)
    shared = train(*common, shared=True, method=method, remat=remat, xla=xla)
    np.testing.assert_allclose(shared[0], plain[0], rtol=1e-6)
    assert len(set(plain[0])) == 3
    assert shared[1] == pytest.approx(plain[1], rel=1e-6)
    for mine, theirs in zip(shared[2], plain[2], strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-6)


def test_blocks_are_traced_once_and_differ_in_weights(make_tiny_model):
    model = make_tiny_model()
    first, second = model.backbone.transformer_layers
    calls = []
    for block in (first, second):
        call = block.call
        vars(block)["call"] = lambda *args, call=call, **kwargs: calls.append(1) or call(*args, **kwargs)
    share_trace(model)
    compute = tf.function(lambda: model(INPUTS, training=False), autograph=False)
    outputs = compute()
    assert len(calls) == 1
    restore_calls(model)
    np.testing.assert_allclose(outputs, model(INPUTS, training=False), atol=1e-6)
    for variable in second.weights:
        variable.assign(variable + 0.5)
    assert np.abs(compute() - outputs).max() > 1e-3, "the second block has weights of its own"


def test_frozen_kernels_have_no_gradient_in_the_shared_function(make_tiny_model):
    def count_products(shared):
        model = make_tiny_model()
        make_method("lora", {"rank": 2}).apply(model)
        if shared:
            share_trace(model)

        @tf.function(autograph=False)
        def compute():
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(model(INPUTS, training=True))
            return tape.gradient(loss, [v.value for v in model.trainable_variables])

        graph = compute.get_concrete_function().graph
        return count_matrix_products(graph)

    # A shared function has the gradient by its input for the first block too, where nothing needs it: a product with the kernel
    # and one with A for query, key and value. TensorFlow drops them when it inlines the function.
    assert count_products(shared=True) <= count_products(shared=False) + 6


def count_matrix_products(graph):
    """Those that are needed, in a graph and, as often as they are called, in its functions."""
    needed, waiting, total = set(), [tensor.op for tensor in graph.outputs], 0
    while waiting:
        operation = waiting.pop()
        if operation not in needed:
            needed.add(operation)
            waiting += [tensor.op for tensor in operation.inputs]
    for operation in needed:
        if "PartitionedCall" in operation.type:
            total += count_matrix_products(graph._get_function(operation.get_attr("f").name).graph)
        total += operation.type in ("MatMul", "BatchMatMulV2", "Einsum")
    return total


def test_blocks_that_differ_have_functions_of_their_own(make_tiny_model):
    gemma = make_gemma3()
    assert count_blocks(gemma) == [1, 5]
    expected = ops.convert_to_numpy(gemma(INPUTS, training=False))
    share_trace(gemma)
    outputs = tf.function(lambda: gemma(INPUTS, training=False), autograph=False)()
    np.testing.assert_allclose(outputs, expected, atol=1e-5)


def test_a_block_that_reads_what_is_not_its_own_is_traced_alone(make_tiny_model):
    """A shared function would read the first block's variable for all of them."""
    model = make_tiny_model()
    for number, block in enumerate(model.backbone.transformer_layers):
        call, shift = block.call, tf.Variable(float(number))
        # Of a list, so that the two closures look alike.
        vars(block)["call"] = lambda *args, call=call, shift=shift, **kwargs: call(*args, **kwargs) + shift
    expected = ops.convert_to_numpy(model(INPUTS, training=False))
    share_trace(model)
    kinds = {block.call.args[0] for block in model.backbone.transformer_layers}
    for kind in kinds:
        for block in model.backbone.transformer_layers:
            block.call = type(block.call)(block.call.func, kind, *block.call.args[1:])  # as if they were alike
    outputs = tf.function(lambda: model(INPUTS, training=False), autograph=False)()
    np.testing.assert_allclose(outputs, expected, atol=1e-5)


def test_what_makes_blocks_differ(make_tiny_model):
    def count(change):
        model = make_tiny_model(dropout=0.1)
        change(model.backbone.transformer_layers[1])
        return count_blocks(model)

    assert count(lambda block: None) == [2]
    assert count(lambda block: setattr(block, "trainable", False)) == [1, 1]
    assert count(lambda block: setattr(block._self_attention_layer_norm, "epsilon", 1e-3)) == [1, 1]
    assert count(lambda block: setattr(block, "activation", keras.activations.relu)) == [1, 1]
    assert count(lambda block: block._feedforward_intermediate_dense.enable_lora(2)) == [1, 1]
    assert count(lambda block: setattr(block._feedforward_dropout, "rate", 0.5)) == [1, 1]


def test_one_graph_serves_all_shapes(make_tiny_model, make_engine, train_section):
    from components.trainer.data import make_blank_step

    model = make_tiny_model()
    make_method("lora", {"rank": 2}).apply(model)
    engine = make_engine(FineTuner(model), train_section, 3)
    for shape in ((1, 2, 8), (2, 2, 8), (4, 1, 16), (1, 3, 12)):
        engine.train(make_blank_step(*shape))
        engine.evaluate(make_blank_step(*shape))
    engine.estimate_memory(2, 2, 12)
    assert engine._train.experimental_get_tracing_count() == 1
    assert engine._evaluate.experimental_get_tracing_count() == 1


def test_outside_of_a_graph_nothing_changes(make_tiny_model):
    model = make_tiny_model()
    before = ops.convert_to_numpy(model(INPUTS, training=False))
    share_trace(model)
    np.testing.assert_array_equal(ops.convert_to_numpy(model(INPUTS, training=False)), before)
    restore_calls(model)
    assert all("call" not in vars(block) for block in model.backbone.transformer_layers)
