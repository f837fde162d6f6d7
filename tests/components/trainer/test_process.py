"""A training on the JAX backend, in its own process, and the export on TensorFlow afterwards. Nothing is replaced."""

import json
from types import SimpleNamespace

import keras
import pytest
import tensorflow as tf

from components.errors import UserError
from components.trainer import module

PRESET = "data/base/tiny_gpt2_en"


@pytest.fixture
def fn_args(tmp_path, make_split, train_section):
    train = {"backend": "jax", "strategy": "auto", "max_steps": 3, "bucket_boundaries": [], "learning_rate": 1e-4}
    return SimpleNamespace(
        train_files=[make_split(37, "train")],
        eval_files=[make_split(11, "eval", 1)],
        serving_model_dir=str(tmp_path / "model" / "Format-Serving"),
        model_run_dir=str(tmp_path / "model_run"),
        base_model=None,
        custom_config={
            "model": {"preset": PRESET, "dtype": "float32"},
            "method": {"name": "lora", "rank": 2},
            "train": train_section | train,
            "text": {"template": "plain", "system": "", "max_length": 16},
            "generation": {"max_new_tokens": 4},
            "preset_hash": "0",
            "code_hash": "1",
            "checkpoint_root": str(tmp_path / "checkpoints"),
            "export": True,
        },
    )


def test_jax_trains_and_tensorflow_exports(fn_args, tmp_path):
    module.run_fn(fn_args)
    record = json.loads((tmp_path / "model" / "training_record.json").read_text())
    assert (record["backend"], record["strategy"], record["steps"]) == ("jax", "one_device", 3)
    assert record["eval_loss_after"] < record["eval_loss_before"]
    assert (tmp_path / "model" / "adapter" / "adapter_weights.npz").is_file()
    assert not list((tmp_path / "checkpoints").iterdir())
    assert "score" in tf.saved_model.load(fn_args.serving_model_dir).signatures
    assert keras.backend.backend() == "tensorflow"


def test_what_a_user_must_change_comes_back_from_the_process(fn_args, tmp_path):
    fn_args.custom_config["train"]["strategy"] = "data_parallel"
    with pytest.raises(UserError, match=r"data_parallel needs at least two devices\. Received: cpu:0"):
        module.run_fn(fn_args)
    assert not (tmp_path / "model").exists()
