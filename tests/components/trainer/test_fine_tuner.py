import keras
import numpy as np
import pytest
from keras import ops

from components.trainer.fine_tuner import FineTuner
from components.trainer.fit import evaluate_tokens


def log_likelihoods(tuner, step):
    """(1, K) in float64, from the model's own logits."""
    logits = ops.convert_to_numpy(tuner.compute_logits(step)).astype("float64")
    logits -= logits.max(-1, keepdims=True)
    log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    return np.take_along_axis(log_probs, step.targets[0][..., None], axis=-1)[..., 0]


def test_evaluation_is_the_mean_over_all_target_tokens(make_toy_engine, train_section, make_datasets):
    _, data = make_datasets(batch_size=4)
    engine = make_toy_engine(train_section, 1)
    nll = weight = 0.0
    batch_means = []
    for step in data.iterate():
        values = -(log_likelihoods(engine.tuner, step) * step.sample_weight[0])
        nll, weight = nll + values.sum(), weight + step.sample_weight.sum()
        batch_means.append(values.sum() / step.sample_weight.sum())
    assert weight == data.statistics.num_target_tokens
    assert evaluate_tokens(engine, data) == pytest.approx(nll / weight, rel=1e-5)
    assert np.mean(batch_means) != pytest.approx(nll / weight, rel=1e-5)  # so the test can tell them apart


def test_the_loss_of_a_step_is_its_mean_per_target_token(make_toy_engine, make_datasets, train_section):
    data, _ = make_datasets()
    step = next(iter(data.iterate()))
    engine = make_toy_engine(train_section, 1, dropout=0.0)
    expected = -(log_likelihoods(engine.tuner, step) * (step.sample_weight[0] > 0)).sum() / step.num_target_tokens
    assert engine.train(step).loss == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "bfloat16", "mixed_float16"])
@pytest.mark.parametrize("training", [True, False])
def test_the_loss_is_float32_whatever_the_logits_are(make_tiny_model, make_datasets, dtype, training):
    data, _ = make_datasets()
    step = next(iter(data.iterate()))
    tuner = FineTuner(make_tiny_model(dtype=dtype))
    inputs = {"token_ids": step.token_ids[0, 0], "padding_mask": step.padding_mask[0, 0]}
    loss = tuner.sum_losses(inputs, tuple(array[0] for array in step[2:]), training=training, static_shapes=False)
    assert keras.backend.standardize_dtype(loss.dtype) == "float32"
    assert float(loss) == pytest.approx(np.log(64), rel=0.02)  # untrained: uniform
