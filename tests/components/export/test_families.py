"""Exported weights and configs are the very ones with which transformers has computed what KerasHub's models compute.

`golden/transformers.json` is written by `write_golden.py`: transformers' names and shapes, its logits, the SHA-256 of the weights
that it has read, and the config.
"""

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from components.errors import UserError
from components.export import formats
from components.export.hugging_face.families import table
from components.export.hugging_face.families.table import find_family

GOLDEN = json.loads(Path(__file__).with_name("golden").joinpath("transformers.json").read_text())["models"]


@pytest.mark.parametrize("name", GOLDEN)
def test_transformers_computes_the_same(name, tiny_models, tmp_path):
    golden = GOLDEN[name]
    backbone = tiny_models.make_backbone(name)
    tiny_models.write(backbone, tmp_path)
    weights = tmp_path / "model.safetensors"
    with safe_open(weights, framework="np") as file:
        assert {key: list(file.get_slice(key).get_shape()) for key in file.keys()} == golden["tensors"]  # noqa: SIM118
        assert file.metadata() == {"format": "pt"}
    assert json.loads((tmp_path / "config.json").read_text()) == golden["config"]
    assert hashlib.sha256(weights.read_bytes()).hexdigest() == golden["weights_sha256"]
    assert golden["problems"] == {}
    inputs = {"token_ids": tiny_models.TOKEN_IDS, "padding_mask": np.ones_like(tiny_models.TOKEN_IDS)}
    logits = np.array(backbone.token_embedding(backbone(inputs, training=False), reverse=True))
    np.testing.assert_allclose(logits[:, -2:], golden["logits"], atol=1e-4, rtol=0)


def test_every_model_has_a_golden_one(tiny_models):
    assert set(GOLDEN) == set(tiny_models.NAMES)


def test_names_that_need_no_keras_are_those_of_the_table():
    assert set(formats.BACKBONES) == set(table._FAMILIES)
    assert {golden["config"]["model_type"] for golden in GOLDEN.values()} == set(formats.MODEL_TYPES)
    assert len(formats.TITLES) == len(formats.MODEL_TYPES)


def test_a_family_without_a_writer_is_told_with_those_that_have_one():
    class OPTBackbone:
        pass

    with pytest.raises(UserError, match=r"Gemma, Gemma 2, .* Qwen 3\. Received: OPTBackbone\..*`keras`"):
        find_family(OPTBackbone())


def test_layers_that_differ_where_the_config_has_one_number_are_refused(tiny_models):
    backbone = tiny_models.make_backbone("qwen3")
    backbone.transformer_layers[1]._self_attention_layernorm.epsilon = 1e-5
    with pytest.raises(UserError, match=re.escape("epsilon of norms must be the same in all layers")):
        find_family(backbone).list_numbers(backbone)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("gemma", ("attention_logit_soft_cap", 3.0), "must have no soft cap"),
        ("gemma", ("query_head_dim_normalize", False), "root of a head's size"),
        ("gemma3", ("use_bidirectional_attention", True), "must have causal attention"),
        ("gemma3", ("use_query_key_norm", False), "norms of queries and keys"),
    ],
)
def test_what_transformers_cannot_compute_is_refused(name, change, message, tiny_models):
    backbone = tiny_models.make_backbone(name)
    setattr(backbone, *change)
    with pytest.raises(UserError, match=message):
        find_family(backbone).list_numbers(backbone)


@pytest.mark.parametrize("kind", ["yarn", "dynamic"])
def test_a_rotation_that_is_not_known_is_refused(kind, tiny_models):
    backbone = tiny_models.make_backbone("qwen2")
    for layer in backbone.transformer_layers:
        layer._self_attention_layer.rotary_embedding_layer.rope_type = kind
    with pytest.raises(UserError, match=f"Received: {kind}"):
        find_family(backbone).list_rewritten(backbone)
