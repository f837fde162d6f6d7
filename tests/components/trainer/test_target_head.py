"""The cut model must give the whole model's logits, for every family that KerasHub builds in its own way."""

import keras
import keras_hub
import numpy as np
import pytest
from keras import ops

from components.trainer.target_head import split_head, take_positions

SMALL = {"vocabulary_size": 40, "num_layers": 1, "hidden_dim": 16, "intermediate_dim": 24}
GROUPED = {**SMALL, "num_query_heads": 2, "num_key_value_heads": 1}


def make_gpt2():
    backbone = keras_hub.models.GPT2Backbone(**SMALL, num_heads=2, max_sequence_length=16)
    return keras_hub.models.GPT2CausalLM(backbone=backbone)


def make_llama():
    return keras_hub.models.LlamaCausalLM(backbone=keras_hub.models.LlamaBackbone(**GROUPED))


def make_gemma():  # caps its logits
    backbone = keras_hub.models.GemmaBackbone(**GROUPED, head_dim=8, final_logit_soft_cap=3.0)
    return keras_hub.models.GemmaCausalLM(backbone=backbone)


def make_qwen():
    return keras_hub.models.QwenCausalLM(backbone=keras_hub.models.QwenBackbone(**GROUPED))


def make_opt():
    backbone = keras_hub.models.OPTBackbone(**SMALL, num_heads=2, max_sequence_length=16)
    return keras_hub.models.OPTCausalLM(backbone=backbone)


@pytest.mark.parametrize("make", [make_gpt2, make_llama, make_gemma, make_qwen, make_opt])
def test_logits_at_positions_are_the_models_own(make):
    keras.utils.set_random_seed(3)
    model = make()
    inputs = {
        "token_ids": np.int32([[3, 1, 4, 1, 5], [9, 2, 6, 0, 0]]),
        "padding_mask": np.int32([[1] * 5, [1] * 3 + [0] * 2]),
    }
    positions = np.int32([7, 0, 4, 6])
    head = split_head(model)
    assert head.states.shape[-1] == 16  # really cut, not the fallback
    cut = keras.Model(model.input, head.states)
    logits = ops.convert_to_numpy(head.project(take_positions(cut(inputs), positions[None])))[0]
    expected = ops.convert_to_numpy(model(inputs)).reshape(10, -1)[positions]
    assert logits.shape == (4, 40)
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-6)


def test_another_output_layer_is_computed_in_full():
    token_ids = keras.Input((None,), dtype="int32", name="token_ids")
    logits = keras.layers.Dense(7)(keras.layers.Embedding(40, 4)(token_ids))
    head = split_head(keras.Model({"token_ids": token_ids}, logits))
    assert head.states is logits
    assert head.project("rows") == "rows"
    assert head.get_projection() is None


def test_a_change_of_the_logits_behind_the_embedding_is_seen():
    model = make_gpt2()
    scaled = keras.Model(model.input, model.output * 2.0)
    scaled.backbone = model.backbone
    assert split_head(scaled).states.shape[-1] == 40
