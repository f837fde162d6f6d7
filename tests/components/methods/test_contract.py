"""What every tuning method promises, in one matrix."""

import numpy as np
import pytest
from keras import ops, optimizers

from components.methods import METHODS, make_method

# A row for each method: options that exercise it, and names of the weights that one step may change (None: all).
CASES = {
    "full": ({}, None),
    "lora": ({"rank": 3, "alpha": 6.0}, ("lora_kernel_a", "lora_kernel_b")),
}


@pytest.fixture(params=sorted(CASES))
def case(request, make_tiny_model):
    options, changed = CASES[request.param]
    return make_method(request.param, options), changed, make_tiny_model


def outputs(model, inputs):
    return ops.convert_to_numpy(model(inputs, training=False))


def perturb(variables):
    rng = np.random.default_rng(1)
    for variable in variables:
        variable.assign(variable + 0.05 * rng.standard_normal(variable.shape).astype("float32"))


def test_every_method_has_a_case():
    assert set(CASES) == set(METHODS)


def test_starts_from_the_outputs_of_the_preset(case, inputs):
    method, _, make = case
    model = make()
    before = outputs(model, inputs)
    method.apply(model)
    np.testing.assert_array_equal(outputs(model, inputs), before)


def test_one_step_changes_the_declared_weights_and_no_others(case, inputs):
    method, changed, make = case
    model = make()
    method.apply(model)
    perturb(model.trainable_variables)  # B = 0 would leave A without a gradient
    before = {weight.path: ops.convert_to_numpy(weight) for weight in model.weights}
    model.compile(optimizer=optimizers.SGD(1.0), loss="auto", weighted_metrics=[])
    model.preprocessor = None
    model.train_on_batch(inputs, inputs["token_ids"])
    differ = {w.path for w in model.weights if not np.array_equal(before[w.path], ops.convert_to_numpy(w))}
    declared = {w.path for w in model.weights if changed is None or w.path.endswith(changed)}
    # The bias of the keys shifts all scores of a row alike, so its gradient is zero but for rounding.
    assert differ <= declared
    assert {path for path in declared - differ if not path.endswith("key/bias")} == set()


def test_trainable_count_equals_the_formula(case):
    method, _, make = case
    model = make()
    expected = method.count_trainable(model)
    method.apply(model)
    assert sum(int(np.prod(variable.shape)) for variable in model.trainable_variables) == expected > 0


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("mixed_bfloat16", 3e-2), ("bfloat16", 6e-2)])
def test_merge_gives_a_plain_model_with_the_same_outputs(case, inputs, dtype, tolerance):
    method, _, make = case
    model = make(dtype=dtype)
    method.apply(model)
    perturb([v for v in model.trainable_variables if v.dtype == "float32"])
    tuned = outputs(model, inputs).astype("float32")
    plain = make(dtype=dtype)
    assert np.abs(outputs(plain, inputs).astype("float32") - tuned).max() > tolerance or dtype == "bfloat16"

    method.merge(model)

    np.testing.assert_allclose(outputs(model, inputs).astype("float32"), tuned, atol=tolerance)
    assert [(w.path, w.shape, w.dtype) for w in model.weights] == [(w.path, w.shape, w.dtype) for w in plain.weights]
    for mine, theirs in zip(model._flatten_layers(), plain._flatten_layers(), strict=True):
        assert type(mine) is type(theirs)
        assert not getattr(mine, "lora_enabled", False)


def test_adapter_round_trip(case, inputs):
    method, _, make = case
    tuned = make()
    method.apply(tuned)
    weights = method.adapter_weights(tuned)
    if weights:
        perturb(tuned.trainable_variables)
        weights = method.adapter_weights(tuned)
    fresh = make()
    method.apply(fresh)
    method.load_adapter(fresh, weights)
    np.testing.assert_array_equal(outputs(fresh, inputs), outputs(tuned, inputs))
    with pytest.raises(ValueError, match="unheard_of"):
        method.load_adapter(fresh, weights | {"unheard_of": np.zeros(1)})


def test_a_saved_merged_model_loads_into_an_untuned_one(case, inputs, tmp_path):
    method, _, make = case
    model = make()
    method.apply(model)
    perturb(model.trainable_variables)
    method.merge(model)
    model.backbone.save_weights(tmp_path / "b.weights.h5")
    plain = make(seed=9)
    plain.backbone.load_weights(tmp_path / "b.weights.h5")
    np.testing.assert_array_equal(outputs(plain, inputs), outputs(model, inputs))
