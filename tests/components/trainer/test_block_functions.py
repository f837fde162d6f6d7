"""Blocks as functions: one trace for those that are alike, and the same numbers."""

import functools

import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf

from components.trainer.block_functions import BlockFunctions, Blocks, compute_plainly

SIZES = {"vocabulary_size": 40, "num_layers": 4, "hidden_dim": 32, "intermediate_dim": 48}
GEMMA = {**SIZES, "num_query_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "sliding_window_size": 4}
MODELS = {
    "alike": lambda: keras_hub.models.GPT2Backbone(**SIZES, num_heads=4, max_sequence_length=16, dropout=0.1),
    "alternating": lambda: keras_hub.models.GemmaBackbone(
        **GEMMA, use_sliding_window_attention=True, attention_logit_soft_cap=50.0
    ),
    "mixed": lambda: keras_hub.models.Llama3Backbone(
        **SIZES, num_query_heads=4, num_key_value_heads=2, dtype="mixed_bfloat16"
    ),
    # A matrix of 12 x 20 float32 is no multiple of 64 bytes: taken apart with a copy.
    "odd sizes": lambda: keras_hub.models.GPT2Backbone(
        vocabulary_size=40, num_layers=3, hidden_dim=12, intermediate_dim=20, num_heads=3, max_sequence_length=16
    ),
}
IDS = np.random.default_rng(0).integers(1, 40, (3, 9)).astype(np.int32)
INPUTS = {"token_ids": IDS, "padding_mask": np.ones_like(IDS)}


@pytest.fixture(params=MODELS)
def model(request):
    keras.utils.set_random_seed(0)
    backbone = MODELS[request.param]()
    for variable in backbone.trainable_variables:
        variable.assign(variable + 0.2 * np.random.default_rng(1).standard_normal(variable.shape))
    return getattr(keras_hub.models, type(backbone).__name__.replace("Backbone", "CausalLM"))(backbone=backbone)


@pytest.mark.parametrize("stack", [False, True])
def test_outputs_are_those_of_the_model(model, stack):
    traced = []

    def compute(call, args, kwargs, own):
        traced.append(call)
        return compute_plainly(call, args, kwargs, own)

    blocks = Blocks(model, stack=stack)
    functions = BlockFunctions(blocks, compute)

    @tf.function(autograph=False)
    def run(ids):
        with functions.installed():
            return model({"token_ids": ids, "padding_mask": tf.ones_like(ids)}, training=False)

    expected = model(INPUTS, training=False)
    np.testing.assert_allclose(run(tf.constant(IDS)), expected, rtol=2e-5, atol=2e-5)
    assert len(traced) == len(blocks.kinds) < len(model.backbone.transformer_layers)
    np.testing.assert_array_equal(model(INPUTS, training=False), expected)  # the model itself is as it was
    assert not any("call" in vars(block) for block in model.backbone.transformer_layers)


def test_stacked_weights_are_no_variables_of_their_own(model):
    blocks = Blocks(model, stack=True)
    others = blocks.list_other_variables(model.variables)
    stacked = [variable for stacks in blocks.stacks for variable in stacks]
    sizes = [sum(int(np.prod(v.shape)) for v in found) for found in (model.weights, others, stacked)]
    generators = sum(int(np.prod(v.shape)) for v in model.variables) - sizes[0]
    assert sizes[0] + generators == sizes[1] + sizes[2]
    assert len(stacked) == sum(len(blocks.blocks[numbers[0]].weights) for numbers in blocks.kinds)


def test_moved_weights_are_held_once_and_in_the_dtype_in_which_they_are_used(model):
    expected = model(INPUTS, training=False)
    blocks = Blocks(model, stack=True, move=True)
    dtypes = {variable.dtype.name for stacks in blocks.stacks for variable in stacks}
    assert dtypes == {model.backbone.compute_dtype}
    assert all(weight._value is None for block in blocks.blocks for weight in block.weights)
    functions = BlockFunctions(blocks)

    @tf.function(autograph=False)
    def run(ids):
        with functions.installed():
            return model({"token_ids": ids, "padding_mask": tf.ones_like(ids)}, training=False)

    np.testing.assert_allclose(run(tf.constant(IDS)), expected, rtol=2e-5, atol=2e-5)


def test_each_block_has_its_own_tensors_and_hands_on(model):
    functions = BlockFunctions(Blocks(model), lambda call, args, kwargs, own: (call(*args, **kwargs), [own[0] + 1.0]))

    @tf.function(autograph=False)
    def run():
        with functions.installed(lambda number: [tf.constant(10.0 * number)]):
            model(INPUTS, training=False)
        return functions.list_handed_on()

    assert [float(x) for x in run()] == [10.0 * i + 1 for i in range(len(model.backbone.transformer_layers))]


def test_blocks_that_read_what_is_not_their_own_are_traced_one_by_one():
    keras.utils.set_random_seed(0)
    model = keras_hub.models.GPT2CausalLM(backbone=MODELS["alike"]())
    blocks = model.backbone.transformer_layers
    scales = [keras.Variable(float(number + 1)) for number in range(len(blocks))]

    def scaled(call, number, *args, **kwargs):
        return call(*args, **kwargs) * scales[number]

    for number, block in enumerate(blocks):
        block.call = functools.partial(scaled, block.call, number)
    found = Blocks(model)
    found.kinds = (tuple(range(len(blocks))),)  # as if they were held to be alike
    found.stacks = [[]]
    functions = BlockFunctions(found)

    @tf.function(autograph=False)
    def run(ids):
        with functions.installed():
            return model({"token_ids": ids, "padding_mask": tf.ones_like(ids)}, training=False)

    np.testing.assert_allclose(run(tf.constant(IDS)), model(INPUTS, training=False), rtol=2e-5, atol=2e-5)
