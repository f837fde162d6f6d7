"""The same numbers whatever the devices: micro-batches, replicas, workers, meshes and backends, in processes of their own."""

import contextlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = Path(__file__).with_name("steps_process.py")
LORA = {"name": "lora", "options": {"rank": 2}}
MESH = {"batch": 2, "model": 2}
TENSORFLOW_CASES = [
    {"name": "one"},
    {"name": "accumulated", "accumulation": 2},
    {"name": "mirrored", "strategy": "mirrored", "rematerialize": True},
    {"name": "xla", "jit": True},
    {"name": "mirrored xla", "strategy": "mirrored", "jit": True, "accumulation": 2, "rematerialize": True},
    {"name": "unclipped", "clip_norm": None},
    {"name": "lora", "method": LORA},
    {"name": "lora mirrored", "strategy": "mirrored", "method": LORA},
    {"name": "float16", "dtype": "mixed_float16"},
    {"name": "float16 accumulated", "dtype": "mixed_float16", "accumulation": 2},
    {"name": "float16 mirrored", "dtype": "mixed_float16", "strategy": "mirrored"},
    {"name": "bfloat16", "dtype": "mixed_bfloat16"},
]
JAX_CASES = [
    {"name": "one"},
    {"name": "accumulated", "accumulation": 2},
    {"name": "data_parallel", "strategy": "data_parallel"},
    {"name": "model_parallel", "strategy": "model_parallel", "mesh": MESH},
    {
        "name": "model_parallel accumulated",
        "strategy": "model_parallel",
        "mesh": MESH,
        "accumulation": 2,
        "rematerialize": True,
    },
    {"name": "lora", "method": LORA},
    {"name": "lora data_parallel", "strategy": "data_parallel", "method": LORA},
    {"name": "lora model_parallel", "strategy": "model_parallel", "mesh": MESH, "method": LORA},
    {"name": "bfloat16", "dtype": "mixed_bfloat16"},
]


def start(output, pattern, cases, backend, **environment):
    """Its stdout has a line a step; its errors are in a file beside the output."""
    command = [sys.executable, str(SCRIPT), str(output), pattern, *map(json.dumps, cases)]
    settings = os.environ | {"KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT)} | environment
    with Path(f"{output}.log").open("w") as log:
        return subprocess.Popen(command, env=settings, stdout=subprocess.PIPE, stderr=log, text=True)


@pytest.fixture(scope="module")
def pattern(tmp_path_factory):
    """A split of 37 examples; every last batch of a length is filled up, and parts have unequal numbers of targets."""
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("data") / "Split-train"
    folder.mkdir()
    rng = np.random.default_rng(0)
    with tf.io.TFRecordWriter(str(folder / "examples.gz"), options="GZIP") as writer:
        for _ in range(37):
            length, prompt = int(rng.integers(6, 17)), int(rng.integers(1, 5))
            example = tf.train.Example()
            token_ids = (rng.integers(1, 64) + np.arange(length)) % 63 + 1
            example.features.feature["token_ids"].int64_list.value.extend(token_ids)
            example.features.feature["loss_weight"].float_list.value.extend([0.0] * prompt + [1.0] * (length - prompt))
            writer.write(example.SerializeToString())
    return str(folder / "*")


@pytest.fixture(scope="module")
def results(pattern, tmp_path_factory):
    """`results[backend, case][key]`; both backends' processes run at once."""
    folder = tmp_path_factory.mktemp("steps")
    cases = {"tensorflow": TENSORFLOW_CASES, "jax": JAX_CASES}
    processes = {b: start(folder / f"{b}.npz", pattern, cases[b], b) for b in cases}
    found = {}
    for backend, process in processes.items():
        process.communicate()
        assert process.returncode == 0, (folder / f"{backend}.npz.log").read_text()[-4000:]
        with np.load(folder / f"{backend}.npz") as archive:
            for name in archive.files:
                case, key = name.split("/")
                found.setdefault((backend, case), {})[key] = archive[name]
    return found


def assert_same(mine, theirs, rtol, atol):
    for key in ("losses", "norms", "evaluation"):
        np.testing.assert_allclose(mine[key], theirs[key], rtol=rtol, err_msg=key)
    for key in ("weights", "moments"):
        np.testing.assert_allclose(mine[key], theirs[key], rtol=0, atol=atol, err_msg=key)


def test_it_learns_and_clips(results):
    one = results["tensorflow", "one"]
    assert one["losses"][-1] < one["losses"][0] - 0.5
    assert one["norms"].min() > 0.5, "so that clipping at 0.5 changes every step"
    assert np.linalg.norm(one["moments"]) < 0.5
    assert not np.allclose(results["tensorflow", "unclipped"]["moments"], one["moments"], rtol=0.1)


@pytest.mark.parametrize("case", [case["name"] for case in TENSORFLOW_CASES[1:5]])
def test_tensorflow_gives_the_same_numbers_however_a_batch_is_cut(results, case):
    """8 = 2 x 4 accumulated = 2 replicas x 4 = 2 replicas x 2 accumulated x 2, with and without XLA."""
    assert_same(results["tensorflow", case], results["tensorflow", "one"], rtol=1e-4, atol=2e-4)


@pytest.mark.parametrize("case", [case["name"] for case in JAX_CASES[:5]])
def test_jax_gives_the_numbers_of_tensorflow_over_20_steps(results, case):
    assert len(results["jax", case]["losses"]) == 20
    assert_same(results["jax", case], results["tensorflow", "one"], rtol=1e-4, atol=2e-4)


@pytest.mark.parametrize(
    ("backend", "case"),
    [("tensorflow", "lora mirrored"), ("jax", "lora"), ("jax", "lora data_parallel"), ("jax", "lora model_parallel")],
)
def test_lora_gives_the_same_numbers_everywhere(results, backend, case):
    assert results[backend, case]["weights"].size == results["tensorflow", "lora"]["weights"].size
    assert_same(results[backend, case], results["tensorflow", "lora"], rtol=1e-4, atol=2e-4)


@pytest.mark.parametrize(
    ("backend", "case"),
    [
        ("tensorflow", "float16"),
        ("tensorflow", "float16 accumulated"),
        ("tensorflow", "float16 mirrored"),
        ("tensorflow", "bfloat16"),
        ("jax", "bfloat16"),
    ],
)
def test_half_precision_learns_as_float32_does(results, backend, case):
    one, half = results["tensorflow", "one"], results[backend, case]
    np.testing.assert_allclose(half["losses"], one["losses"], rtol=0.03)
    np.testing.assert_allclose(half["evaluation"], one["evaluation"], rtol=0.03)
    assert not np.array_equal(half["weights"], one["weights"])


def test_model_parallel_really_cuts_the_weights(results):
    layout = json.loads(str(results["jax", "model_parallel"]["layout"]))
    cut = {path for path, sharding in layout.items() if "'model'" in sharding}
    assert len(cut) == 1 + (3 * 2 + 1 + 2 + 1)  # the embedding; q, k, v with biases, attention's output, feed-forward
    lora = json.loads(str(results["jax", "lora model_parallel"]["layout"]))
    assert {path for path, sharding in lora.items() if "'model'" in sharding} == cut, "LoRA's own weights stay whole"
    assert not [s for s in json.loads(str(results["jax", "data_parallel"]["layout"])).values() if "'model'" in s]


def find_free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def start_workers(folder, pattern, cases, **environment):
    ports = find_free_ports(2)
    cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
    return [
        start(
            folder / f"{index}.npz",
            pattern,
            cases,
            "tensorflow",
            TF_CONFIG=json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}}),
            **environment,
        )
        for index in range(2)
    ]


def test_two_workers_give_the_numbers_of_one_device(results, pattern, tmp_path):
    workers = start_workers(tmp_path, pattern, [{"name": "workers", "strategy": "multi_worker_mirrored"}])
    for index, worker in enumerate(workers):
        worker.communicate()
        assert worker.returncode == 0, (tmp_path / f"{index}.npz.log").read_text()[-4000:]
        with np.load(tmp_path / f"{index}.npz") as archive:
            mine = {name.split("/")[1]: archive[name] for name in archive.files}
        assert_same(mine, results["tensorflow", "one"], rtol=1e-4, atol=2e-4)


def test_a_killed_worker_ends_the_other_with_an_error(pattern, tmp_path):
    workers = start_workers(
        tmp_path, pattern, [{"name": "workers", "strategy": "multi_worker_mirrored"}], NUM_STEPS="1000000"
    )
    try:
        for line in workers[1].stdout:
            if line.startswith("step 3"):
                break
        assert workers[1].poll() is None, (tmp_path / "1.npz.log").read_text()[-4000:]
        workers[1].kill()
        workers[0].communicate(timeout=300)
        assert workers[0].returncode not in (0, None)
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    assert "another worker" in (tmp_path / "0.npz.log").read_text()
