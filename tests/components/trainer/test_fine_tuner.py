import keras
import numpy as np
import pytest
from keras import ops

from components.trainer.fine_tuner import FineTuner


def log_likelihoods(model, step):
    """(K,) in float64, from the model's own logits."""
    logits = ops.convert_to_numpy(model.compute_logits(step)).astype("float64")
    logits -= logits.max(-1, keepdims=True)
    log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    return np.take_along_axis(log_probs, step.targets[0][..., None], axis=-1)[..., 0]


def test_evaluation_is_the_mean_over_all_target_tokens(make_toy_model, train_section, make_datasets):
    _, data = make_datasets(batch_size=4)
    model = make_toy_model(train_section, 1)
    nll = weight = 0.0
    batch_means = []
    for step in data.iterate():
        values = -(log_likelihoods(model, step) * step.sample_weight[0])
        nll, weight = nll + values.sum(), weight + step.sample_weight.sum()
        batch_means.append(values.sum() / step.sample_weight.sum())
    assert weight == data.statistics.num_target_tokens
    assert model.evaluate_tokens(data) == pytest.approx(nll / weight, rel=1e-5)
    assert np.mean(batch_means) != pytest.approx(nll / weight, rel=1e-5)  # so the test can tell them apart


def test_the_loss_of_a_step_is_its_mean_per_target_token(make_toy_model, make_datasets, train_section):
    data, _ = make_datasets()
    step = next(iter(data.iterate()))
    model = make_toy_model(train_section, 1, dropout=0.0)
    expected = -(log_likelihoods(model, step) * (step.sample_weight[0] > 0)).sum() / step.num_target_tokens
    assert model.train_on_step(step) == pytest.approx(expected, rel=1e-5)


def test_one_batch_of_8_is_2_accumulated_of_4(make_toy_model, make_datasets, train_section):
    results = {}
    for accumulation_steps in (1, 2):
        data, _ = make_datasets(accumulation_steps)
        section = train_section | {"gradient_accumulation_steps": accumulation_steps, "schedule": "cosine"}
        model = make_toy_model(section, 4, dropout=0.0)
        # Adam divides by the gradient's size, which turns rounding into differences; momentum is linear in it.
        steps = list(data.iterate(last=3))
        if accumulation_steps == 2:
            halves = [half.sum() for half in steps[0].sample_weight]
            assert halves[0] != pytest.approx(halves[1])  # unequal target counts
        losses = [model.train_on_step(steps[0])]
        momentum = [ops.convert_to_numpy(m) for m in model.optimizer._momentums]
        losses += [model.train_on_step(step) for step in steps[1:]]
        results[accumulation_steps] = losses, momentum
    np.testing.assert_allclose(results[2][0], results[1][0], rtol=2e-4)
    for accumulated, single in zip(results[2][1], results[1][1], strict=True):
        np.testing.assert_allclose(accumulated, single, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "bfloat16", "mixed_float16"])
@pytest.mark.parametrize("training", [True, False])
def test_the_loss_is_float32_whatever_the_logits_are(make_tiny_model, make_datasets, dtype, training):
    data, _ = make_datasets()
    step = next(iter(data.iterate()))
    model = FineTuner(make_tiny_model(dtype=dtype))
    inputs, targets, weight = next(step.split())
    loss = model.compute_loss(y=targets, y_pred=model(inputs), sample_weight=weight, training=training)
    assert keras.backend.standardize_dtype(loss.dtype) == "float32"
    assert float(loss) == pytest.approx(np.log(64), rel=0.02)  # untrained: uniform
