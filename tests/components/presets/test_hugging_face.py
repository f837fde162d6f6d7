"""What is said of a folder before anything of it is loaded."""

import json
import time

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from components.presets.hugging_face import inspect_folder


@pytest.fixture
def folder(make_golden_folder):
    return make_golden_folder("llama3")


def edit(path, change):
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def test_a_whole_folder_has_no_problems(folder):
    report = inspect_folder(folder)
    assert (report.problems, report.model_type) == ((), "llama")
    size = sum(tensor.size for tensor in load_file(folder / "model.safetensors").values())
    assert report.num_parameters == size
    assert (report.count_bytes(4), report.count_bytes(2)) == (4 * size, 2 * size)


def test_nothing_is_read_but_headers(folder):
    """A file of 8 GB, most of which is a hole, is looked at in no time."""
    length = 10 * 2**30
    header = json.dumps({"w": {"dtype": "BF16", "shape": [length // 2], "data_offsets": [0, length]}}).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + length)
    start = time.process_time()
    assert inspect_folder(folder).count_bytes(2) == length
    assert time.process_time() - start < 1


@pytest.mark.parametrize("length", [0, 5, 100, 20_000])
def test_a_download_that_was_not_finished(folder, length):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:length])
    (problem,) = inspect_folder(folder).problems
    assert "model.safetensors" in problem
    assert "Download it again" in problem
    if length == 20_000:
        assert "It has 20,000: the download was not finished" in problem


def test_a_shard_that_is_not_finished_is_named(make_golden_folder):
    folder = make_golden_folder("llama3_tied")
    path = folder / "model-00002-of-00002.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    (problem,) = inspect_folder(folder).problems
    assert problem.startswith("model-00002-of-00002.safetensors must have")


def test_a_shard_that_is_missing_is_named(make_golden_folder):
    folder = make_golden_folder("llama3_tied")
    (folder / "model-00001-of-00002.safetensors").unlink()
    (problem,) = inspect_folder(folder).problems
    assert problem.startswith("weights are missing: model-00001-of-00002.safetensors. Download the folder again")


def test_an_index_of_another_version(make_golden_folder):
    folder = make_golden_folder("llama3_tied")
    edit(
        folder / "model.safetensors.index.json",
        lambda index: index["weight_map"].update({"model.layers.2.x": "model-00001-of-00002.safetensors"}),
    )
    (problem,) = inspect_folder(folder).problems
    assert "names tensors that no file has: model.layers.2.x" in problem


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/passwd"])
def test_an_index_names_files_of_its_folder_only(make_golden_folder, name):
    folder = make_golden_folder("llama3_tied")
    edit(folder / "model.safetensors.index.json", lambda index: index["weight_map"].update({"x": name}))
    (problem,) = inspect_folder(folder).problems
    assert "must name files of its own folder" in problem


def test_a_pickle_is_refused_with_the_way_to_convert_it(folder):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch ran'\ntR.")
    (problem,) = inspect_folder(folder).problems
    assert "pytorch_model.bin cannot be taken instead: a pickle runs code when it is read" in problem
    assert "safe_serialization=True" in problem


def test_a_pointer_of_git_lfs(folder):
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    (problem,) = inspect_folder(folder).problems
    assert "Run `git lfs pull`" in problem


def test_weights_that_are_quantised(folder):
    path = folder / "model.safetensors"
    save_file(load_file(path) | {"model.layers.0.mlp.up_proj.weight": np.zeros((24, 8), "uint8")}, path)
    (problem,) = inspect_folder(folder).problems
    assert "Received: U8: they are quantised" in problem


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (
            {"model_type": "phi3"},
            "must be one of gpt2, llama, gemma, .*has no converter to a causal language model for 'phi3'",
        ),
        ({"model_type": "bert"}, "for 'bert'"),
        ({"model_type": ["llama"]}, r"\['llama'\]"),
        ({"model_type": "mixtral"}, "Received: 'mixtral'. KerasHub has a converter for it, which nobody has compared"),
        ({"architectures": ["LlamaForSequenceClassification"]}, "must be LlamaForCausalLM, a causal language model"),
        ({"architectures": None}, "`architectures` must be LlamaForCausalLM"),
        ({"attention_bias": True}, "`attention_bias` must be False"),
        ({"hidden_act": "gelu"}, "`hidden_act` must be 'silu' or 'swish'.*Received: 'gelu'"),
        ({"head_dim": 8}, "`head_dim` must be 4"),
        ({"attention_dropout": 0.1}, "`attention_dropout` must be 0.0"),
        ({"rope_parameters": {"rope_type": "yarn", "factor": 2.0}}, "default, linear, llama3. Received: 'yarn'"),
        (
            {"rope_parameters": {"rope_type": "llama3", "factor": 2.0}},
            "must have low_freq_factor, high_freq_factor, orig",
        ),
        ({"rope_parameters": {"rope_type": "default", "beta": 2.0}}, "that are not known: beta"),
        ({"rope_scaling": {"rope_type": "linear", "factor": 3.0}}, "must agree. They do not: .*factor"),
        ({"rope_parameters": 3}, "must be objects"),
        ({"partial_rotary_factor": 0.5}, "`partial_rotary_factor` must be 1.0"),
        ({"quantization_config": {"bits": 4}}, "the weights are quantised"),
        ({"auto_map": {"AutoModel": "x.py"}}, "code of its own"),
        ({"residual_multiplier": 0.2}, "has `residual_multiplier: 0.2`, of which it is not known"),
        ({"vocab_size": None}, "must have `vocab_size`, and it is missing"),
        ({"hidden_size": "16"}, "`hidden_size` must be a whole number above 0. Received: '16'"),
        ({"num_hidden_layers": 0}, "`num_hidden_layers` must be a whole number above 0"),
        ({"rms_norm_eps": "1e-5"}, "`rms_norm_eps` must be a number above 0"),
        ({"rms_norm_eps": float("nan")}, "`rms_norm_eps` must be a number above 0. Received: nan"),
        ({"tie_word_embeddings": "false"}, "`tie_word_embeddings` must be true or false. Received: 'false'"),
        ({"rope_parameters": {"rope_theta": "10000"}}, "`rope_theta` must be a number above 0. Received: '10000'"),
        ({"rope_parameters": {"rope_theta": -1}}, "`rope_theta` must be a number above 0. Received: -1"),
        ({"rope_parameters": {"rope_type": "linear"}}, "`factor` must be a number above 0. Received: None"),
        ({"rope_parameters": {"rope_type": "linear", "factor": 0}}, "`factor` must be a number above 0. Received: 0"),
    ],
)
def test_what_keras_hub_cannot_compute_is_refused(folder, change, part):
    edit(folder / "config.json", lambda config: config.update(change))
    problems = inspect_folder(folder).problems
    assert [p for p in problems if p.startswith("config.json: ")]
    assert any(_matches(part, problem) for problem in problems), problems


def _matches(part, text):
    import re

    return re.search(part, text) is not None


@pytest.mark.parametrize(
    ("name", "change", "part"),
    [
        ("gpt2", {"layer_norm_epsilon": 1e-6}, "`layer_norm_epsilon` must be 1e-05"),
        ("gpt2", {"activation_function": "relu"}, "`activation_function` must be"),
        ("gpt2", {"embd_pdrop": 0.1}, "`embd_pdrop` must be 0.05"),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx"),
        ("mistral", {"tie_word_embeddings": True}, "`tie_word_embeddings` must be False"),
        ("qwen2_window", {"max_window_layers": 1, "layer_types": None}, "one kind of attention for all layers"),
        ("qwen3", {"attention_bias": True}, "`attention_bias` must be False"),
        ("gemma", {"rope_parameters": {"rope_theta": 5000.0}}, "`rope_theta` must be 10000"),
        ("gemma2", {"query_pre_attn_scalar": 5}, r"must be `head_dim` \(8\) or `hidden_size` a head \(4\)"),
        ("gemma2", {"layer_types": ["full_attention"] * 3}, "`layer_types` must be"),
        ("gemma3", {"rope_local_base_freq": 5000.0}, "KerasHub's layers have no other"),
        ("gemma3", {"sliding_window_pattern": 2}, "`layer_types` must be"),
        ("gemma3", {"rope_parameters": {"sliding_attention": None}}, "`rope_parameters` must be objects"),
        ("gemma3", {"rope_scaling": "x"}, "`rope_parameters` must be objects"),
        ("gemma3", {"final_logit_softcapping": "30"}, "`final_logit_softcapping` must be a number above 0"),
        ("mistral", {"sliding_window": "4096"}, "`sliding_window` must be a whole number above 0"),
        ("mistral", {"head_dim": 2.5}, "`head_dim` must be a whole number above 0"),
        ("gpt2", {"resid_pdrop": -0.1}, "`resid_pdrop` must be a number of 0 or more"),
        ("gemma3", {"use_bidirectional_attention": True}, "would not be causal"),
    ],
)
def test_what_a_family_does_not_have_is_refused(make_golden_folder, name, change, part):
    folder = make_golden_folder(name)
    edit(folder / "config.json", lambda config: config.update(change))
    assert any(_matches(part, problem) for problem in inspect_folder(folder).problems)


def test_all_problems_come_together(folder):
    edit(folder / "config.json", lambda config: config.update({"mlp_bias": True, "hidden_act": "relu"}))
    (folder / "model.safetensors").unlink()
    (folder / "tokenizer.json").unlink()
    assert len(inspect_folder(folder).problems) == 4


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (
            lambda t: t["model"]["vocab"].update({"zz": 320}),
            "must have ids below 320.*Its largest is 320. The tokenizer is another",
        ),
        (lambda t: t["model"].update(vocab={"a": 0}), "must know at least half of the model's 320 tokens.*It has 6"),
        (
            lambda t: [token.update(special=token["id"] < 296) for token in t["added_tokens"]],
            "must have the model's end token",
        ),
        (lambda t: t.pop("model"), "must hold a vocabulary"),
    ],
)
def test_a_vocabulary_that_is_not_the_models(folder, change, part):
    edit(folder / "tokenizer.json", change)
    (problem,) = inspect_folder(folder).problems
    assert _matches(part, problem), problem


def test_another_models_tokenizer(make_golden_folder, folder):
    other = make_golden_folder("qwen2")
    (other / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
    problems = inspect_folder(other).problems
    assert any("Missing: <|endoftext|>" in problem for problem in problems)
    assert any("tokens that tokenizer_config.json names. Missing: <|im_end|>" in problem for problem in problems)


def test_a_tokenizer_that_is_missing(make_golden_folder):
    folder = make_golden_folder("mistral")
    (folder / "tokenizer.model").unlink()
    (problem,) = inspect_folder(folder).problems
    assert problem.startswith("the tokenizer is missing: tokenizer.model, or tokenizer.json.")
