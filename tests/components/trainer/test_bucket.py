"""`run_fn` where every address is one in a bucket."""

import json

import numpy as np
import pytest
import tensorflow as tf

from components.errors import UserError
from components.trainer import module, training
from components.trainer.adapter import load_adapter
from components.trainer.model import hash_weights, load_model, save_preset


@pytest.fixture
def base(bucket, make_text_model):
    """An earlier Model artifact with a preset; its SavedModel is not there, as that of a reference model."""
    save_preset(make_text_model(), f"{bucket.url}/earlier/1/preset")
    return f"{bucket.url}/earlier/1"


@pytest.fixture
def in_bucket(bucket, base, fn_args, monkeypatch):
    """Four steps from that preset, with data, model and logs in the bucket."""
    monkeypatch.setattr(training, "enable_determinism", lambda: None)  # would hold for the whole process
    for split in ("train", "eval"):
        (pattern,) = getattr(fn_args, f"{split}_files")
        for path in tf.io.gfile.glob(pattern):
            tf.io.gfile.copy(path, f"{bucket.url}/examples/Split-{split}/{path.rpartition('/')[2]}")
        setattr(fn_args, f"{split}_files", [f"{bucket.url}/examples/Split-{split}/*"])
    fn_args.serving_model_dir = f"{bucket.url}/model/2/Format-Serving"
    fn_args.model_run_dir = f"{bucket.url}/model_run/2"
    fn_args.base_model = f"{base}/Format-Serving"
    tf.io.gfile.makedirs(f"{bucket.url}/model/2")  # as TFX makes them
    return fn_args


def read_record(bucket):
    with tf.io.gfile.GFile(f"{bucket.url}/model/2/training_record.json") as file:
        return json.load(file)


def test_run_fn_reads_and_writes_a_bucket(bucket, base, in_bucket, tmp_path):
    module.run_fn(in_bucket)
    record = read_record(bucket)
    assert (record["steps"], record["preset"], record["started_from"]) == (4, "tiny", f"{base}/preset")
    files = bucket.list_files("model/2/")
    assert {name.partition("/")[0] for name in files} == {"Format-Serving", "adapter", "preset", "training_record.json"}
    written = [name for change, name in bucket.list_history() if name.startswith("model/2/")]
    assert written[-1] == "model/2/training_record.json"
    assert bucket.list_files("model_run/2/")
    assert not list((tmp_path / "checkpoints").iterdir())

    assert hash_weights(load_model(f"{base}/preset")) == record["base_hash"]
    assert hash_weights(load_model(f"{bucket.url}/model/2/preset")) == record["tuned_hash"] != record["base_hash"]
    adapter = load_adapter(f"{bucket.url}/model/2/adapter")
    assert (adapter.base_hash, adapter.preset, len(adapter.weights)) == (record["base_hash"], f"{base}/preset", 8)
    signature = tf.saved_model.load(in_bucket.serving_model_dir).signatures["score"]
    example = tf.train.Example()
    example.features.feature["token_ids"].int64_list.value.extend([1, 2, 3])
    example.features.feature["target_mask"].int64_list.value.extend([0, 1, 1])
    outputs = signature(examples=tf.constant([example.SerializeToString()]))
    np.testing.assert_array_equal(outputs["token_count"].numpy(), [2.0])


def test_an_upload_that_fails_is_repeated_without_training_again(bucket, in_bucket, monkeypatch):
    in_bucket.custom_config["export"] = False
    copy = tf.io.gfile.copy

    def fail(source, target):
        if target.startswith(f"{bucket.url}/model/2/preset"):
            raise OSError("the network is down")
        copy(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(tf.io.gfile, "copy", fail)
        with pytest.raises(OSError, match="the network is down"):
            module.run_fn(in_bucket)
    left = bucket.list_files("model/2/")
    assert left and "training_record.json" not in left
    module.run_fn(in_bucket)
    record = read_record(bucket)
    assert (record["resumed_from_step"], record["steps"]) == (4, 4)


def test_a_preset_that_is_not_there_is_named(bucket, in_bucket):
    in_bucket.base_model = f"{bucket.url}/nowhere/Format-Serving"
    with pytest.raises(UserError, match=f"{bucket.url}/nowhere/preset must be there"):
        module.run_fn(in_bucket)
    assert bucket.list_files("model/2/") == []
