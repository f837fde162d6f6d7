import json

import pytest

from components.errors import UserError
from components.trainer import placement, strategies
from components.trainer.strategies import Cluster, find_strategy_problems, read_cluster

TRAIN = {"backend": "tensorflow", "strategy": "auto", "mesh": None, "batch_size": 8, "gradient_accumulation_steps": 1}


@pytest.mark.parametrize(
    ("backend", "strategy", "mesh"),
    [
        ("tensorflow", "auto", None),
        ("tensorflow", "one_device", None),
        ("tensorflow", "mirrored", None),
        ("tensorflow", "multi_worker_mirrored", None),
        ("tensorflow", "tpu", None),
        ("jax", "auto", None),
        ("jax", "one_device", None),
        ("jax", "data_parallel", None),
        ("jax", "model_parallel", {"batch": 4, "model": 2}),
    ],
)
def test_what_goes_together(backend, strategy, mesh):
    assert find_strategy_problems(TRAIN | {"backend": backend, "strategy": strategy, "mesh": mesh}) == {}


@pytest.mark.parametrize(
    ("change", "key", "words"),
    [
        (
            {"backend": "jax", "strategy": "mirrored"},
            "strategy",
            ["tf.distribute", "data_parallel", "backend: tensorflow"],
        ),
        ({"backend": "jax", "strategy": "tpu"}, "strategy", ["data_parallel, which uses every TPU core"]),
        ({"strategy": "data_parallel"}, "strategy", ["only a prototype", "Use mirrored", "backend: jax"]),
        (
            {"strategy": "model_parallel", "mesh": {"batch": 1, "model": 2}},
            "strategy",
            ["keras.distribution", "backend: jax"],
        ),
        ({"backend": "jax", "strategy": "model_parallel"}, "mesh", ["{batch: B, model: M}"]),
        ({"mesh": {"batch": 1, "model": 2}}, "mesh", ["Received: strategy auto"]),
        (
            {"backend": "jax", "strategy": "model_parallel", "mesh": {"batch": 3, "model": 2}},
            "mesh",
            ["Received: 3 x 1 and 8"],
        ),
    ],
)
def test_what_does_not_and_the_way_out(change, key, words):
    problems = find_strategy_problems(TRAIN | change)
    assert list(problems) == [key]
    assert [word for word in words if word not in problems[key]] == []


def test_a_backend_that_is_not_installed(monkeypatch):
    monkeypatch.setattr(strategies.importlib.util, "find_spec", lambda name: None)
    problems = find_strategy_problems(TRAIN | {"backend": "jax"})
    assert problems == {"backend": "`jax` needs a package that is not installed. Run `make venv-jax`."}


@pytest.mark.parametrize(
    ("config", "cluster"),
    [
        ("", Cluster(1, 0)),
        ("{}", Cluster(1, 0)),
        ({"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 1}}, Cluster(2, 1)),
        ({"cluster": {"chief": ["a:1"], "worker": ["b:1"]}, "task": {"type": "worker", "index": 0}}, Cluster(2, 1)),
        ({"cluster": {"chief": ["a:1"], "worker": ["b:1"]}, "task": {"type": "chief", "index": 0}}, Cluster(2, 0)),
        ({"cluster": {"worker": ["a:1"]}, "task": {"type": "evaluator", "index": 0}}, Cluster(1, 0)),
    ],
)
def test_the_cluster_of_tf_config(monkeypatch, config, cluster):
    monkeypatch.setenv("TF_CONFIG", config if isinstance(config, str) else json.dumps(config))
    assert read_cluster() == cluster
    assert read_cluster().is_chief == (cluster.index == 0)


@pytest.mark.parametrize("config", ["{", "[]", '{"cluster": 3}', '{"task": {"index": "x"}}'])
def test_a_broken_tf_config_is_an_error(monkeypatch, config):
    monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(ValueError, match="must be JSON like"):
        read_cluster()
    with pytest.raises(UserError, match="must be JSON like"):
        placement.make_placement(TRAIN, lambda: object)


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        ("mirrored", r"needs at least two devices of one kind\. Received: .*CPU:0.* Use one_device or auto"),
        ("multi_worker_mirrored", r"at least two workers in the environment variable TF_CONFIG.*Received: 1"),
        ("tpu", r"needs a TPU that TensorFlow can reach\. Received: .*backend jax with data_parallel"),
    ],
)
def test_a_strategy_without_its_devices_is_an_error(monkeypatch, strategy, message):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(UserError, match=message):
        placement.make_placement(TRAIN | {"strategy": strategy}, lambda: object)


def test_auto_on_one_device_says_what_it_picked(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    picked = placement.make_placement(TRAIN, lambda: object)
    assert (picked.name, picked.num_replicas, picked.devices) == ("one_device", 1, ("CPU:0",))
    assert picked.describe() == "tensorflow, one_device on CPU:0: 1 replica"


def test_float16_on_a_cpu_of_jax_is_refused(monkeypatch):
    here = placement.Placement(name="one_device", devices=("cpu:0",))
    placement.check_precision("mixed_float16", here)
    monkeypatch.setattr(placement.keras.backend, "backend", lambda: "jax")
    placement.check_precision("mixed_bfloat16", here)
    with pytest.raises(UserError, match=r"mixed_float16 on the JAX backend needs a GPU.*Received: cpu:0"):
        placement.check_precision("mixed_float16", here)
