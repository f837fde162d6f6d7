import json

import ml_dtypes
import numpy as np
import pytest

from components.errors import UserError
from components.trainer.adapter import CONFIG_FILE, WEIGHTS_FILE, load_adapter, save_adapter

METHOD = {"name": "lora", "rank": 2}


@pytest.fixture
def weights():
    generator = np.random.default_rng(0)
    return {
        "layer_0/query/lora_a": generator.normal(size=(4, 2)).astype("float32"),
        "file": generator.normal(size=(3,)).astype(ml_dtypes.bfloat16),
        "scalar": np.float32(2.5),
    }


@pytest.fixture
def directory(tmp_path, weights):
    save_adapter(str(tmp_path / "adapter"), weights, METHOD, "tiny", "abc", "bfloat16")
    return tmp_path / "adapter"


def test_round_trip(directory, weights):
    adapter = load_adapter(str(directory))
    assert adapter.weights.keys() == weights.keys()
    for name, value in weights.items():
        assert adapter.weights[name].dtype == value.dtype
        np.testing.assert_array_equal(adapter.weights[name], value)
    assert (adapter.method, adapter.preset, adapter.base_hash, adapter.dtype) == (METHOD, "tiny", "abc", "bfloat16")
    assert adapter.versions["keras"]
    adapter.check_base("abc")
    adapter.check_weights({name: value.shape for name, value in weights.items()})


def test_wrong_base_is_refused(directory):
    with pytest.raises(UserError, match=r"'tiny' with hash abc. Received a base with hash def"):
        load_adapter(str(directory)).check_base("def")


def test_missing_extra_and_misshapen_weights_are_named(directory):
    expected = {"scalar": (), "file": (4,), "other": (1,)}
    with pytest.raises(
        UserError, match=r"Missing: \['other'\]. Extra: \['layer_0/query/lora_a'\]. Wrong shape: \['file \(3,\) for"
    ):
        load_adapter(str(directory)).check_weights(expected)


@pytest.mark.parametrize("name", [CONFIG_FILE, WEIGHTS_FILE])
@pytest.mark.parametrize("damage", ["gone", "cut", "flipped"])
def test_damage_is_found(directory, name, damage):
    path = directory / name
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(content[:-20])
    elif name == WEIGHTS_FILE:
        path.write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:])
    else:
        config = json.loads(content)
        config["weights"]["scalar"]["shape"] = [1]
        path.write_text(json.dumps(config))
    with pytest.raises(UserError, match="as they were saved"):
        load_adapter(str(directory))


def test_a_second_adapter_does_not_overwrite_the_first(directory, weights):
    with pytest.raises(FileExistsError):
        save_adapter(str(directory), weights, METHOD, "tiny", "abc", "float32")
    assert load_adapter(str(directory)).dtype == "bfloat16"
