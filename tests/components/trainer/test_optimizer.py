import keras
import numpy as np
import pytest
from keras import ops

from components.errors import UserError
from components.methods import make_method
from components.trainer.fine_tuner import FineTuner
from components.trainer.optimizer import WarmupSchedule, make_optimizer


def rates(decay, accumulation_steps=1):
    schedule = WarmupSchedule(1.0, num_steps=8, warmup_steps=4, decay=decay, accumulation_steps=accumulation_steps)
    return ops.convert_to_numpy(schedule(np.arange(8 * accumulation_steps))).tolist()


def test_schedule_by_eye():
    assert rates("linear") == [0.25, 0.5, 0.75, 1.0, 1.0, 0.75, 0.5, 0.25]
    assert rates("constant") == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0]
    np.testing.assert_allclose(rates("cosine")[4:], [1.0, 0.853553, 0.5, 0.146447], atol=1e-6)


def test_schedule_counts_steps_not_micro_batches():
    assert rates("linear", accumulation_steps=2) == list(np.repeat(rates("linear"), 2))


def test_decay_leaves_out_biases_and_normalisation(make_tiny_model, train_section):
    model = FineTuner(make_tiny_model())
    optimizer = make_optimizer(train_section, 10, model)
    decayed = {variable.path for variable in model.trainable_variables if optimizer._use_weight_decay(variable.value)}
    kernels = {
        variable.path for variable in model.trainable_variables if variable.path.endswith(("kernel", "embeddings"))
    }
    assert kernels and decayed == kernels


@pytest.mark.parametrize("accumulation_steps", [1, 2])
def test_the_averaged_gradient_is_clipped_once_a_step(train_section, accumulation_steps):
    variable = keras.Variable(np.zeros((2, 2), "float32"), name="kernel")
    section = train_section | {"gradient_accumulation_steps": accumulation_steps, "clip_norm": 1.0, "weight_decay": 0.0}

    class Model:
        trainable_variables = [variable]
        dtype_policy = keras.DTypePolicy("float32")

    optimizer = make_optimizer(section, 10, Model())
    gradients = [np.full((2, 2), 8.0, "float32"), np.full((2, 2), -4.0, "float32")][:accumulation_steps]
    for gradient in gradients:
        optimizer.apply([ops.convert_to_tensor(gradient)], [variable])
    mean = np.mean(gradients, axis=0)
    clipped = mean / np.linalg.norm(mean)  # norms are above 1
    np.testing.assert_allclose(optimizer._momentums[0].numpy(), 0.1 * clipped, rtol=1e-5)  # (1 - beta_1) * gradient
    np.testing.assert_allclose(variable.numpy(), -1e-2 * np.sign(mean), rtol=1e-4)  # Adam's first step is the rate


def test_weights_too_coarse_to_train_are_refused(make_tiny_model, train_section):
    model = make_tiny_model(dtype="bfloat16")
    with pytest.raises(UserError, match="mixed_bfloat16, or tune with `lora`"):
        make_optimizer(train_section, 10, FineTuner(model))
    make_method("lora", {}).apply(model)
    make_optimizer(train_section, 10, FineTuner(model))  # LoRA's own weights are float32


def test_loss_scaling_and_accumulation_are_refused_together(make_tiny_model, train_section):
    model = FineTuner(make_tiny_model(dtype="mixed_float16"))
    with pytest.raises(UserError, match=r"must be 1 with model\.dtype mixed_float16"):
        make_optimizer(train_section | {"gradient_accumulation_steps": 2}, 10, model)


def test_mixed_float16_scales_the_loss(make_tiny_model, train_section):
    model = FineTuner(make_tiny_model(dtype="mixed_float16"))
    model.compile(optimizer=make_optimizer(train_section, 10, model), jit_compile=False)
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
