import math

import numpy as np
import pytest
from keras import ops

from components.errors import UserError
from components.methods import make_method
from components.methods.layers import find_kernel_layers


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
