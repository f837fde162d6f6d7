"""`config.json`: the publisher's numbers are kept, checked against the model, and written in both forms of transformers."""

import pytest

from components.errors import UserError
from components.export.hugging_face.config import make_config
from components.export.hugging_face.families.table import find_family
from components.export.hugging_face.rope import read_rope


@pytest.fixture(scope="module")
def llama(tiny_models):
    return tiny_models.make_backbone("llama_scaled_tied")


def make(backbone, publisher, token_ids=None, dtype="bfloat16"):
    return make_config(find_family(backbone), backbone, publisher, token_ids or {}, dtype)


def test_the_publishers_own_entries_stay_and_what_was_tuned_decides_the_rest(llama):
    publisher = {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "max_position_embeddings": 77,
        "initializer_range": 0.041,
        "eos_token_id": [2, 7],
        "rope_theta": 5000.0,
        "torch_dtype": "float16",
        "transformers_version": "4.50.0",
        "rms_norm_eps": 2e-4,
    }
    config = make(llama, publisher, {"eos_token_id": 3, "bos_token_id": 1})
    for key in ("max_position_embeddings", "initializer_range", "eos_token_id", "transformers_version"):
        assert config[key] == publisher[key]
    assert config["bos_token_id"] == 1
    assert config["dtype"] == config["torch_dtype"] == "bfloat16"
    # Written by older versions, which knew no `rope_parameters`, and read by them.
    assert config["rope_theta"] == config["rope_parameters"]["rope_theta"] == 5000.0
    assert config["rope_scaling"]["rope_type"] == "llama3"


def test_without_a_publisher_positions_are_those_that_the_family_has(llama):
    assert make(llama, {})["max_position_embeddings"] == 131072


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"rms_norm_eps": 1e-5}, "rms_norm_eps: 1e-05 there, 0.0002 in the model"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings: False there, True in the model"),
        ({"hidden_act": "gelu"}, "hidden_act: gelu there, silu in the model"),
        ({"rope_theta": 10000.0}, "rope_theta: 10000.0 there, 5000.0 in the model"),
        ({"rope_scaling": {"type": "linear", "factor": 2.0}}, "rope_type: linear there, llama3 in the model"),
        ({"rope_parameters": {"rope_type": "llama3", "factor": 32.0}}, "factor: 32.0 there, 8.0 in the model"),
    ],
)
def test_a_config_that_contradicts_the_model_is_an_error_with_the_way_out(stated, message, llama):
    with pytest.raises(UserError, match=f"{message}.*remove that file from the preset's folder `hugging_face`"):
        make(llama, stated)


def test_names_of_one_function_are_no_contradiction(llama, tiny_models):
    assert make(llama, {"hidden_act": "swish"})["hidden_act"] == "silu"
    gpt2 = tiny_models.make_backbone("gpt2")
    assert make(gpt2, {"activation_function": "gelu_pytorch_tanh"})["activation_function"] == "gelu_new"
    with pytest.raises(UserError, match="activation_function: gelu there, gelu_new in the model"):
        make(gpt2, {"activation_function": "gelu"})


def test_what_is_left_open_there_is_no_contradiction(llama):
    assert make(llama, {"head_dim": None, "num_key_value_heads": None, "rope_scaling": None})["head_dim"] == 6


def test_a_quantised_publication_is_written_without_its_quantisation(llama):
    assert "quantization_config" not in make(llama, {"quantization_config": {"bits": 4}})


def test_rotation_is_read_in_both_forms():
    old = {"rope_theta": 5.0, "rope_scaling": {"type": "linear", "factor": 2.0}}
    new = {"rope_parameters": {"rope_theta": 5.0, "rope_type": "linear", "factor": 2.0}}
    assert read_rope(old) == read_rope(new)
    assert read_rope({}) == {}
