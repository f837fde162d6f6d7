"""Local copies of folders in a bucket."""

import os
import re
from pathlib import Path

import pytest
import tensorflow as tf

from components.errors import UserError
from components.local_copies import local_copy, local_preset

FILES = ("config.json", "model.weights.h5", "model.weights.json", "assets/tokenizer/vocabulary.json")


@pytest.fixture
def preset(bucket):
    for name in FILES:
        with tf.io.gfile.GFile(f"{bucket.url}/a-b/preset/{name}", "w") as file:
            file.write(name)
    with tf.io.gfile.GFile(f"{bucket.url}/a-b/preset-2/config.json", "w") as file:
        file.write("another")
    return f"{bucket.url}/a-b/preset"


def list_files(folder):
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file())


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_copy_has_every_file_and_is_gone_at_the_end(preset, slash):
    with local_copy(preset + slash) as folder:
        assert list_files(folder) == sorted(FILES)
        assert (Path(folder) / FILES[-1]).read_text() == FILES[-1]
    assert not os.path.exists(folder)


def test_a_copy_is_gone_after_an_error(preset):
    with pytest.raises(RuntimeError), local_preset(preset) as folder:
        raise RuntimeError
    assert not os.path.exists(folder)


def test_a_tokenizer_needs_no_weights(preset):
    with local_preset(preset, with_weights=False) as folder:
        assert list_files(folder) == ["assets/tokenizer/vocabulary.json", "config.json"]
    with local_preset(preset) as folder:
        assert list_files(folder) == sorted(FILES)


def test_a_folder_that_was_replaced_is_copied_again(preset):
    with local_preset(preset):
        pass
    with tf.io.gfile.GFile(f"{preset}/config.json", "w") as file:
        file.write("replaced")
    with local_preset(preset) as folder:
        assert (Path(folder) / "config.json").read_text() == "replaced"


@pytest.mark.parametrize("preset", ["gpt2_base_en", "kaggle://a/b/keras/c", "some/folder"])
def test_what_is_in_no_bucket_stays_as_it_is(preset):
    with local_preset(preset) as source:
        assert source == preset


@pytest.mark.parametrize("place", ["/nothing", "-of-others/preset"])
def test_an_address_of_nothing_is_an_error(bucket, place):
    address = bucket.url + place
    message = f"the folder {re.escape(address)} must be there.*Check the address"
    with pytest.raises(UserError, match=message), local_preset(address):
        pass
