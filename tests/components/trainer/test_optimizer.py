import keras
import numpy as np
import pytest
from keras import ops

from components.errors import UserError
from components.methods import make_method
from components.trainer.fine_tuner import FineTuner
from components.trainer.optimizer import WarmupSchedule, make_optimizer


def rates(decay):
    schedule = WarmupSchedule(1.0, num_steps=8, warmup_steps=4, decay=decay)
    return ops.convert_to_numpy(schedule(np.arange(8))).tolist()


def test_schedule_by_eye():
    assert rates("linear") == [0.25, 0.5, 0.75, 1.0, 1.0, 0.75, 0.5, 0.25]
    assert rates("constant") == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0]
    np.testing.assert_allclose(rates("cosine")[4:], [1.0, 0.853553, 0.5, 0.146447], atol=1e-6)


def test_decay_leaves_out_biases_and_normalisation(make_tiny_model, train_section):
    model = FineTuner(make_tiny_model())
    optimizer = make_optimizer(train_section, 10, model)
    decayed = {variable.path for variable in model.trainable_variables if optimizer._use_weight_decay(variable.value)}
    kernels = {
        variable.path for variable in model.trainable_variables if variable.path.endswith(("kernel", "embeddings"))
    }
    assert kernels and decayed == kernels


def test_weights_too_coarse_to_train_are_refused(make_tiny_model, train_section):
    model = make_tiny_model(dtype="bfloat16")
    with pytest.raises(UserError, match="mixed_bfloat16, or tune with `lora`"):
        make_optimizer(train_section, 10, FineTuner(model))
    make_method("lora", {}).apply(model)
    make_optimizer(train_section, 10, FineTuner(model))  # LoRA's own weights are float32


def test_mixed_float16_scales_the_loss(make_tiny_model, train_section):
    optimizer = make_optimizer(train_section, 10, FineTuner(make_tiny_model(dtype="mixed_float16")))
    assert isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
