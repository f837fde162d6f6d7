"""Folders that are unusual, and folders that cannot be loaded."""

import json

import keras
import keras_hub
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from components.errors import UserError
from components.models.mends import mend_keras_hub
from components.presets.side_files import read_json_object
from components.text.sentencepiece_rules import make_sentencepiece_rules
from components.trainer.hugging_face import export_hugging_face
from components.trainer.model import hash_weights, load_model, save_preset

TEXT = "The quick brown fox, 12 of them."


def edit(path, **change):
    path.write_text(json.dumps(json.loads(path.read_text()) | change))


def add_tensors(folder, **shapes):
    path = folder / "model.safetensors"
    tensors = {name.replace("__", "."): np.zeros(shape, "float32") for name, shape in shapes.items()}
    save_file(load_file(path) | tensors, path)


def load_keras_tokenizer(folder):
    """As KerasHub makes it, before the model's own rules."""
    mend_keras_hub()
    return keras_hub.tokenizers.Tokenizer.from_preset(str(folder))


def test_tensors_that_no_layer_takes_are_refused(make_golden_folder):
    folder = make_golden_folder("llama3")
    add_tensors(folder, model__layers__0__self_attn__q_proj__bias=(16,))
    with pytest.raises(UserError, match=r"no place for: model\.layers\.0\.self_attn\.q_proj\.bias"):
        load_model(str(folder))


def test_a_file_of_such_tensors_alone_is_looked_at_too(make_golden_folder):
    folder = make_golden_folder("llama3")
    names = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    save_file({"model.extra.weight": np.zeros(3, "float32")}, folder / "model-00002-of-00002.safetensors")
    places = dict.fromkeys(names, "model-00001-of-00002.safetensors")
    places["model.extra.weight"] = "model-00002-of-00002.safetensors"
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    with pytest.raises(UserError, match=r"no place for: model\.extra\.weight"):
        load_model(str(folder))


def test_the_publishers_terms_go_with_a_model_that_is_saved(make_golden_folder, tmp_path):
    folder = make_golden_folder("llama3")
    for name in ("LICENSE", "NOTICE", "USE_POLICY.md"):
        (folder / name).write_text(f"{name}: pass this on.")
    save_preset(load_model(str(folder)), str(tmp_path / "preset"))
    export_hugging_face(load_model(str(tmp_path / "preset")), str(tmp_path / "preset"), str(tmp_path / "hf"))
    for name in ("LICENSE", "NOTICE", "USE_POLICY.md"):
        assert (tmp_path / "hf" / name).read_text() == f"{name}: pass this on."


def test_what_is_computed_or_tied_may_be_in_the_file(make_golden_folder):
    folder = make_golden_folder("smollm2")
    add_tensors(folder, model__layers__0__self_attn__rotary_emb__inv_freq=(2,), lm_head__weight=(320, 16))
    model = load_model(str(folder))
    assert hash_weights(model) == hash_weights(load_model(str(make_golden_folder("smollm2"))))


def test_what_validate_says_is_said_again(make_golden_folder):
    folder = make_golden_folder("llama3")
    edit(folder / "config.json", mlp_bias=True)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(UserError, match=r"(?s)cannot be loaded\. .*`mlp_bias` must be False.*the tokenizer is missing"):
        load_model(str(folder))


def test_keras_hub_refuses_it_too(make_golden_folder):
    """For those who call `from_preset` themselves."""
    folder = make_golden_folder("qwen3")
    edit(folder / "config.json", attention_bias=True)
    mend_keras_hub()
    with pytest.raises(UserError, match="`attention_bias` must be False"):
        keras_hub.models.CausalLM.from_preset(str(folder))


def test_a_preset_with_another_models_tokenizer_is_refused(make_golden_folder, tmp_path):
    save_preset(load_model(str(make_golden_folder("qwen2"))), str(tmp_path / "preset"))
    path = tmp_path / "preset" / "assets" / "tokenizer" / "vocabulary.json"
    edit(path, more=400)
    with pytest.raises(
        UserError, match="must have ids below 320.*Its largest is 400. The tokenizer is another model's"
    ):
        load_model(str(tmp_path / "preset"))


@pytest.mark.parametrize("name", ["gemma", "gemma3", "mistral"])
def test_sentence_piece_models_load_from_their_json(make_golden_folder, name):
    folder = make_golden_folder(name)
    whole = load_keras_tokenizer(folder)
    path = folder / "tokenizer.model"
    (folder / "tokenizer.json").write_text(json.dumps(make_sentencepiece_rules(path.read_bytes())))
    path.unlink()
    tokenizer = load_keras_tokenizer(folder)
    assert tokenizer.get_vocabulary() == whole.get_vocabulary()
    assert list(tokenizer(TEXT)) == list(whole(TEXT))
    for token in ("start_token_id", "end_token_id"):
        assert getattr(tokenizer, token) == getattr(whole, token)
    # A start token in a text is text.
    assert tokenizer.start_token_id not in list(tokenizer(f"a {tokenizer.start_token} b"))


def test_gpt2_loads_from_its_older_files(make_golden_folder):
    folder = make_golden_folder("gpt2")
    tokenizer = load_keras_tokenizer(folder)
    rules = read_json_object(folder / "tokenizer.json")
    (folder / "vocab.json").write_text(json.dumps(rules["model"]["vocab"] | {"<|endoftext|>": 299}))
    merges = [" ".join(merge) for merge in rules["model"]["merges"]]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n")
    (folder / "tokenizer.json").unlink()
    assert load_keras_tokenizer(folder).get_vocabulary() == tokenizer.get_vocabulary()
    load_model(str(folder))


def test_tokens_may_be_objects_or_missing(make_golden_folder, tmp_path):
    folder = make_golden_folder("smollm2")
    edit(folder / "tokenizer_config.json", bos_token=None, eos_token={"content": "<|im_end|>", "lstrip": False})
    save_preset(load_model(str(folder)), str(tmp_path / "preset"))
    tokenizer = load_model(str(tmp_path / "preset")).preprocessor.tokenizer
    assert (tokenizer.start_token_id, tokenizer.end_token_id) == (None, 299)


def test_the_same_model_is_the_same_bytes(make_golden_folder, tmp_path):
    folder = make_golden_folder("smollm2")
    for name in ("first", "second"):
        keras.backend.clear_session()  # names of layers are numbered in a process
        save_preset(load_model(str(folder)), str(tmp_path / name))
    files = sorted(p.relative_to(tmp_path / "first") for p in (tmp_path / "first").rglob("*") if p.is_file())
    assert len(files) > 8
    different = [
        str(file)
        for file in files
        if (tmp_path / "first" / file).read_bytes() != (tmp_path / "second" / file).read_bytes()
    ]
    assert different == []
