"""safetensors files: what is read back is what was written, in shards and in other precisions, with one tensor in memory."""

import json
import tracemalloc
from types import SimpleNamespace

import ml_dtypes
import numpy as np
import pytest
from safetensors import safe_open

from components.errors import UserError
from components.export.hugging_face import tensors
from components.export.hugging_face.tensors import Tensor, flip, flip_from_heads, flip_heads, keep
from components.export.hugging_face.weights import count_bytes, write_weights

GENERATOR = np.random.default_rng(3)


def make(name, *shape, dtype="float32"):
    return keep(name, GENERATOR.normal(size=shape).astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype))


def read(path):
    with safe_open(path, framework="np") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def test_one_file(tmp_path):
    written = [make("b", 3, 4), make("a", 5)]
    told = []
    write_weights(written, tmp_path, report=told.append)
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]
    found = read(tmp_path / "model.safetensors")
    assert set(found) == {"a", "b"}
    for tensor in written:
        np.testing.assert_array_equal(found[tensor.name], tensor.read())
    assert sum(told) == count_bytes(written) == 4 * 17


def test_shards_with_their_index(tmp_path):
    written = [make(name, 10) for name in "abcde"] + [make("large", 40)]
    write_weights(written, tmp_path, max_shard_bytes=100)
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == 4 * 90
    names = [f"model-0000{i}-of-00004.safetensors" for i in (1, 2, 3, 4)]
    assert index["weight_map"] == dict(zip("abcde", [names[i] for i in (0, 0, 1, 1, 2)], strict=True)) | {
        "large": names[3]
    }
    assert {path.name for path in tmp_path.iterdir()} == {*names, "model.safetensors.index.json"}
    for tensor in written:
        np.testing.assert_array_equal(read(tmp_path / index["weight_map"][tensor.name])[tensor.name], tensor.read())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_precisions(dtype, tmp_path):
    written = [make("a", 4, 5), make("b", 3, dtype="bfloat16")]
    write_weights(written, tmp_path, dtype)
    for tensor in written:
        found = read(tmp_path / "model.safetensors")[tensor.name]
        assert found.dtype.name == dtype
        np.testing.assert_array_equal(found, tensor.read().astype(found.dtype))


def test_each_tensor_keeps_its_own_precision(tmp_path):
    write_weights([make("a", 4), make("b", 3, dtype="bfloat16")], tmp_path)
    assert {name: value.dtype.name for name, value in read(tmp_path / "model.safetensors").items()} == {
        "a": "float32",
        "b": "bfloat16",
    }


def test_a_weight_that_float16_cannot_hold_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"must fit into float16\. big has values up to 7e\+04\. Take bfloat16"):
        write_weights([keep("big", np.array([1.0, -7e4], np.float32))], tmp_path, "float16")


def test_only_one_tensor_is_in_memory(tmp_path):
    class Variable(SimpleNamespace):
        def __array__(self, *_args, **_options):
            return np.ones(self.shape, np.float32)

    variables = [Variable(shape=(1024, 1024), dtype="float32") for _ in range(8)]
    tracemalloc.start()
    write_weights([flip(str(i), variable) for i, variable in enumerate(variables)], tmp_path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # 4 MiB each: as it is, turned round, and what NumPy needs for that.
    assert peak < 4 * 4 * 2**20


def test_shapes_are_known_without_reading():
    class Unreadable(SimpleNamespace):
        def __array__(self, *_args, **_options):
            raise AssertionError("was read")

    kernel = Unreadable(shape=(24, 4, 10), dtype="float32")
    assert flip_heads("q", kernel).shape == (40, 24)
    assert flip_from_heads("o", Unreadable(shape=(4, 10, 24), dtype="float32")).shape == (24, 40)
    joined = Tensor(name="qk", variables=[kernel, kernel], transform=lambda *k: np.concatenate(k, axis=1))
    assert joined.shape == (24, 8, 10)


def test_heads_stay_together():
    kernel = np.arange(2 * 3 * 2, dtype=np.float32).reshape(2, 3, 2)  # (in, heads, head size)
    matrix = tensors.flip_heads("q", kernel).read()
    np.testing.assert_array_equal(matrix[2:4], kernel[:, 1].T)
