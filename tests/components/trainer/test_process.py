"""A training on the JAX backend, in its own process, and the export on TensorFlow afterwards. Nothing is replaced."""

import json

import keras
import pytest
import tensorflow as tf

from components.errors import UserError
from components.trainer import module


@pytest.fixture
def jax_arguments(fn_args):
    config = fn_args.custom_config
    config["model"]["preset"] = "data/base/tiny_gpt2_en"
    config["train"] |= {"backend": "jax", "strategy": "auto", "max_steps": 3, "learning_rate": 1e-4}
    return fn_args


def test_jax_trains_and_tensorflow_exports(jax_arguments, tmp_path):
    module.run_fn(jax_arguments)
    record = json.loads((tmp_path / "model" / "training_record.json").read_text())
    assert (record["backend"], record["strategy"], record["steps"]) == ("jax", "one_device", 3)
    assert record["eval_loss_after"] < record["eval_loss_before"]
    assert (tmp_path / "model" / "adapter" / "adapter_weights.npz").is_file()
    assert not list((tmp_path / "checkpoints").iterdir())
    assert "score" in tf.saved_model.load(jax_arguments.serving_model_dir).signatures
    assert keras.backend.backend() == "tensorflow"


def test_what_a_user_must_change_comes_back_from_the_process(jax_arguments, tmp_path):
    jax_arguments.custom_config["train"]["strategy"] = "data_parallel"
    with pytest.raises(UserError, match=r"data_parallel needs at least two devices\. Received: cpu:0"):
        module.run_fn(jax_arguments)
    assert not (tmp_path / "model").exists()
