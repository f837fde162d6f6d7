"""A model of each family, exported and loaded again as any other preset: ids, logits and chosen tokens are the same."""

import json
import shutil

import numpy as np
import pytest
from safetensors import safe_open

from components.errors import UserError
from components.trainer import hugging_face
from components.trainer.hugging_face import (
    HuggingFaceMismatchError,
    export_hugging_face,
    observe,
    verify_hugging_face,
)

NAMES = ("gpt2", "llama_scaled_tied", "gemma", "gemma2", "gemma3", "mistral", "qwen2", "qwen3")
TEXTS = ("The 12345 birds don't sing.", "def f(x):\n\n    return x  # \u00e9\u6771 \U0001f642", "")


@pytest.fixture(scope="module", params=NAMES)
def exported(request, tiny_models, small_tokenizers, tmp_path_factory):
    """A model, what it does, and its folder."""
    folder = tmp_path_factory.mktemp(request.param)
    model = tiny_models.make_model(request.param, folder / "preset", small_tokenizers)
    # With the publisher's rules for some, and made from the tokenizer for the others.
    if request.param in ("gpt2", "qwen2", "gemma"):
        shutil.rmtree(folder / "preset" / "hugging_face", ignore_errors=True)
    export_hugging_face(model, str(folder / "preset"), str(folder / "hf"), card="# Card\n")
    return model, observe(model, TEXTS, 24), folder / "hf"


def test_it_computes_the_same(exported):
    _, behaviour, folder = exported
    assert len(behaviour.prompts) == 2
    assert all(len(ids) == length + 8 for ids, length in zip(behaviour.token_ids, behaviour.lengths, strict=True))
    verify_hugging_face(str(folder), behaviour)
    names = {path.name for path in folder.iterdir()}
    expected = {"config.json", "generation_config.json", "model.safetensors", "README.md", "tokenizer.json"}
    assert expected | {"tokenizer_config.json"} <= names
    assert json.loads((folder / "generation_config.json").read_text())["eos_token_id"]
    assert (folder / "README.md").read_text() == "# Card\n"


@pytest.fixture(scope="module")
def gpt2(tiny_models, small_tokenizers, tmp_path_factory):
    """A model, its preset's folder, and what it does."""
    folder = tmp_path_factory.mktemp("gpt2_preset")
    model = tiny_models.make_model("gpt2", folder, small_tokenizers)
    return model, folder, observe(model, TEXTS, 24)


def test_in_another_precision_and_in_shards_it_is_nearly_the_same(gpt2, monkeypatch, tmp_path):
    model, preset, behaviour = gpt2
    monkeypatch.setattr(hugging_face.write_hugging_face, "__kwdefaults__", {
        **hugging_face.write_hugging_face.__kwdefaults__, "max_shard_bytes": 20_000,
    })  # fmt: skip
    export_hugging_face(model, str(preset), str(tmp_path / "hf"), dtype="bfloat16")
    files = sorted(tmp_path.glob("hf/*.safetensors"))
    assert len(files) > 1
    with safe_open(files[0], framework="np") as file:
        assert {file.get_tensor(name).dtype.name for name in file.keys()} == {"bfloat16"}  # noqa: SIM118
    assert json.loads((tmp_path / "hf" / "config.json").read_text())["dtype"] == "bfloat16"
    verify_hugging_face(str(tmp_path / "hf"), behaviour, "bfloat16")
    with pytest.raises(HuggingFaceMismatchError, match="logits of"):
        verify_hugging_face(str(tmp_path / "hf"), behaviour)


def test_what_differs_is_found(gpt2, tmp_path):
    model, preset, behaviour = gpt2
    export_hugging_face(model, str(preset), str(tmp_path / "hf"))
    path = tmp_path / "hf" / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-2] ^= 0x40  # the exponent of one number of the last norm
    path.write_bytes(bytes(content))
    with pytest.raises(HuggingFaceMismatchError, match="logits of"):
        verify_hugging_face(str(tmp_path / "hf"), behaviour)


def test_another_tokenizer_is_found(gpt2, tmp_path):
    model, preset, behaviour = gpt2
    export_hugging_face(model, str(preset), str(tmp_path / "hf"))
    path = tmp_path / "hf" / "tokenizer.json"
    rules = json.loads(path.read_text())
    rules["model"]["merges"] = rules["model"]["merges"][:50]
    path.write_text(json.dumps(rules))
    with pytest.raises(HuggingFaceMismatchError, match="the ids of"):
        verify_hugging_face(str(tmp_path / "hf"), behaviour)


def test_other_choices_are_found(gpt2):
    _, _, behaviour = gpt2
    logits = behaviour.logits[0]
    other = np.array(logits)
    place = behaviour.lengths[0]
    other[place, logits[place].argmin()] = logits[place].max() + 1
    with pytest.raises(HuggingFaceMismatchError, match="and 1 tokens"):
        hugging_face._compare_choices(other, logits, behaviour.lengths[0], 1e-4, "x", "folder")
    hugging_face._compare_choices(other, logits, behaviour.lengths[0], 1e9, "x", "folder")  # they tie


def test_a_failed_export_leaves_nothing(gpt2, monkeypatch, tmp_path):
    model, preset, _ = gpt2
    (tmp_path / "preset" / "hugging_face").mkdir(parents=True)
    (tmp_path / "preset" / "hugging_face" / "config.json").write_text(json.dumps({"n_layer": 12}))
    with pytest.raises(UserError, match="n_layer: 12 there, 2 in the model"):
        export_hugging_face(model, str(tmp_path / "preset"), str(tmp_path / "hf"))
    assert [path.name for path in tmp_path.iterdir()] == ["preset"]
    del preset
