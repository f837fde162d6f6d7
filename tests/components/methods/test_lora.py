import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from components.errors import UserError
from components.methods import make_method
from components.methods.layers import find_kernel_layers
from components.methods.low_rank import compute_beside_kernel, restore_call


def test_kernel_is_w_plus_scaled_a_b(make_tiny_model):
    model = make_tiny_model()
    plain = {path: ops.convert_to_numpy(layer.kernel) for path, layer in find_kernel_layers(model).items()}
    method = make_method("lora", {"rank": 2, "alpha": 7.0})
    method.apply(model)
    rng = np.random.default_rng(0)
    for path, layer in find_kernel_layers(model).items():
        a = rng.standard_normal(layer.lora_kernel_a.shape).astype("float32")  # (..., m, rank)
        b = rng.standard_normal(layer.lora_kernel_b.shape).astype("float32")  # (rank, n)
        layer.lora_kernel_a.assign(a)
        layer.lora_kernel_b.assign(b)
        plain[path] = plain[path] + 7.0 / 2 * np.einsum("...r,rn->...n", a, b)
        np.testing.assert_allclose(ops.convert_to_numpy(layer.kernel), plain[path], rtol=1e-5, atol=1e-5)
    method.merge(model)
    for path, layer in find_kernel_layers(model).items():
        np.testing.assert_allclose(ops.convert_to_numpy(layer.kernel), plain[path], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "mixed_bfloat16"])
def test_outputs_are_those_of_keras_own_formula(make_tiny_model, inputs, dtype):
    model = make_tiny_model(dtype=dtype)
    make_method("lora", {"rank": 2, "alpha": 7.0}).apply(model)
    for variable in model.trainable_variables:
        variable.assign(ops.cast(np.random.default_rng(0).normal(0, 0.1, variable.shape), "float32"))
    beside = ops.convert_to_numpy(ops.cast(model(inputs), "float32"))
    for layer in find_kernel_layers(model).values():
        restore_call(layer)
    tolerance = 1e-5 if dtype == "float32" else 0.05
    np.testing.assert_allclose(
        beside, ops.convert_to_numpy(ops.cast(model(inputs), "float32")), rtol=tolerance, atol=tolerance
    )


def test_no_gradient_of_a_whole_kernel_is_computed():
    """Else LoRA costs as much as full tuning. With 5 x 7 rows, 48 x 80 are the shape of a kernel alone."""
    layer = keras.layers.Dense(80)
    layer.build((None, 48))
    layer.enable_lora(2)

    def list_shapes() -> list[tuple]:
        @tf.function
        def differentiate(inputs):
            with tf.GradientTape() as tape:
                loss = ops.sum(ops.square(layer(inputs)))
            return tape.gradient(loss, [layer.lora_kernel_a.value, layer.lora_kernel_b.value])

        waiting = [tensor.op for tensor in differentiate.get_concrete_function(tf.TensorSpec((5, 7, 48))).graph.outputs]
        needed = {}
        while waiting:
            operation = waiting.pop()
            if operation.name not in needed:
                needed[operation.name] = operation
                waiting += [tensor.op for tensor in operation.inputs]
        return [tuple(op.outputs[0].shape) for op in needed.values() if op.type == "MatMul"]

    assert (48, 80) in list_shapes()  # Keras' own way: if this fails, `compute_beside_kernel` is not needed any more
    compute_beside_kernel(layer)
    assert (48, 80) not in list_shapes()
    assert (48, 2) in list_shapes()


def test_an_equation_whose_last_kernel_axis_is_not_one_of_the_output_stays_as_it_is():
    layer = keras.layers.EinsumDense("abc,dc->abd", output_shape=(None, 6))
    layer.build((None, None, 4))
    layer.enable_lora(2)
    layer.lora_kernel_b.assign(ops.ones_like(layer.lora_kernel_b))
    x = np.random.default_rng(0).standard_normal((2, 3, 4)).astype("float32")
    before = ops.convert_to_numpy(layer(x))
    compute_beside_kernel(layer)
    np.testing.assert_array_equal(ops.convert_to_numpy(layer(x)), before)


def test_alpha_zero_is_the_frozen_base(make_tiny_model, inputs):
    model = make_tiny_model()
    base = ops.convert_to_numpy(model(inputs))
    make_method("lora", {"alpha": 0}).apply(model)
    for variable in model.trainable_variables:
        variable.assign(ops.ones_like(variable))
    np.testing.assert_array_equal(ops.convert_to_numpy(model(inputs)), base)


def test_default_is_all_linear_layers_and_the_scale_is_two(make_tiny_model):
    model = make_tiny_model()
    method = make_method("lora", {"rank": 4})
    method.apply(model)
    names = {name.rsplit("/", 2)[-2] for name in method.adapter_weights(model)}
    feedforward = {"feedforward_intermediate_dense", "feedforward_output_dense"}
    assert names == {"query", "key", "value", "attention_output"} | feedforward
    assert method.scale == 2.0
    assert all(variable.dtype == "float32" for variable in model.trainable_variables)


def test_names_are_layer_paths_and_do_not_depend_on_the_order_of_building(make_tiny_model):
    make_tiny_model()
    method = make_method("lora", {"target_layer_names": ["self_attention/query"]})
    model = make_tiny_model()
    method.apply(model)
    assert sorted(method.adapter_weights(model)) == [
        f"transformer_layer_{i}/self_attention/query/lora_{role}" for i in (0, 1) for role in "ab"
    ]
    # query kernel: (inputs 32, heads 2, head_dim 16)
    assert method.count_trainable(model) == 2 * 8 * (32 * 2 + 16)


def test_a_name_without_a_layer_is_an_error_that_lists_the_layers(make_tiny_model):
    model = make_tiny_model()
    with pytest.raises(UserError, match=r"Received: q_proj\. Layers there are: .*query") as error:
        make_method("lora", {"target_layer_names": ["query", "q_proj"]}).apply(model)
    assert "token_embedding" not in str(error.value)
    assert len(model.trainable_variables) == len(model.weights)  # left as it was


@pytest.mark.parametrize(
    "options",
    [{"rank": 0}, {"rank": 2.0}, {"rank": True}, {"alpha": -1}, {"alpha": math.nan}, {"alpha": "8"}]
    + [{"target_layer_names": names} for names in ([], "query", [""], [3])],
)
def test_bad_options_are_refused(options):
    with pytest.raises(ValueError, match=rf"method\.{next(iter(options))}: .*Received"):
        make_method("lora", options)
