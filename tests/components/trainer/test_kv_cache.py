"""Generation with the cache that is updated in place equals KerasHub's own, for each kind of attention."""

import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf

from components.errors import UserError
from components.trainer import decoding, kv_cache
from components.trainer.samplers import GREEDY, Beam, TopK

SIZES = {"vocabulary_size": 61, "num_layers": 2, "hidden_dim": 32, "intermediate_dim": 48}
GROUPED = {**SIZES, "num_query_heads": 4, "num_key_value_heads": 2}
models = keras_hub.models
FAMILIES = {
    "gpt2": lambda: models.GPT2CausalLM(models.GPT2Backbone(**SIZES, num_heads=4, max_sequence_length=64, dropout=0.0)),
    "llama": lambda: models.LlamaCausalLM(models.LlamaBackbone(**GROUPED)),
    "mistral, window": lambda: models.MistralCausalLM(models.MistralBackbone(**GROUPED, sliding_window=8)),
    "gemma2": lambda: models.GemmaCausalLM(
        models.GemmaBackbone(
            **GROUPED,
            head_dim=8,
            sliding_window_size=8,
            use_sliding_window_attention=True,
            attention_logit_soft_cap=50.0,
            final_logit_soft_cap=30.0,
            use_post_ffw_norm=True,
            use_post_attention_norm=True,
        )
    ),
    "qwen3": lambda: models.Qwen3CausalLM(models.Qwen3Backbone(**GROUPED, head_dim=8)),
    "opt": lambda: models.OPTCausalLM(models.OPTBackbone(**SIZES, num_heads=4, max_sequence_length=64, dropout=0.0)),
    "gemma": lambda: models.GemmaCausalLM(models.GemmaBackbone(**GROUPED, head_dim=8)),
    "qwen": lambda: models.QwenCausalLM(models.QwenBackbone(**GROUPED)),
    "gpt_neo_x": lambda: models.GPTNeoXCausalLM(models.GPTNeoXBackbone(**SIZES, num_heads=4)),
    "phi3": lambda: models.Phi3CausalLM(models.Phi3Backbone(**GROUPED)),
    "bloom, ALiBi": lambda: models.BloomCausalLM(models.BloomBackbone(**SIZES, num_heads=4, dropout=0.0)),
    "falcon": lambda: models.FalconCausalLM(models.FalconBackbone(**SIZES, num_attention_heads=4)),
}
LENGTHS = np.array([9, 5, 7, 1], np.int32)
PROMPTS = np.random.default_rng(0).integers(3, 61, (4, 9)).astype(np.int32)
NEW = 40  # more than a piece of the cache
STOP = [2]


def _make(family):
    keras.utils.set_random_seed(1)
    model = FAMILIES[family]()
    noise = np.random.default_rng(1)
    for variable in model.trainable_variables:  # away from the small initial values, with which all tokens are alike
        variable.assign(variable + 0.3 * noise.standard_normal(variable.shape))
    return model


def _compile(model, *arguments):
    return tf.function(
        lambda ids, lengths: decoding.generate_tokens(model, ids, lengths, NEW, *arguments),
        input_signature=[tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([None], tf.int32)],
        autograph=False,
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_completions_equal_those_of_keras_hub(family):
    model = _make(family)
    assert kv_cache.is_supported(model)
    new, counts = _compile(model, STOP)(PROMPTS, LENGTHS)
    padded = np.where(np.arange(9)[None] < LENGTHS[:, None], PROMPTS, 0)
    expected = decoding._generate_by_keras_hub(
        model, tf.constant(padded), tf.constant(LENGTHS), NEW, 0, STOP, GREEDY
    ).numpy()
    assert len(set(new.numpy().ravel())) > 3
    for row, length in enumerate(LENGTHS):
        count = int(counts[row])
        np.testing.assert_array_equal(new[row, :count], expected[row, length : length + count])
        assert count == NEW or expected[row, length + count] == STOP[0]


def test_graph_writes_in_place_and_moves_no_cache():
    model = _make("gpt2")
    graph = _compile(model, STOP).get_concrete_function().graph.as_graph_def()
    bodies = [f for f in graph.library.function if any(n.op == "InplaceUpdate" for n in f.node_def)]
    assert len(bodies) == 1
    operations = [node.op for node in bodies[0].node_def]
    assert operations.count("InplaceUpdate") == 2  # in one function for all blocks
    assert "Einsum" not in operations
    assert operations.count("BatchMatMulV2") == 2


def test_architecture_with_another_cache_is_left_to_keras_hub():
    class Hybrid(models.GPT2CausalLM):
        def _build_cache(self, token_ids, padding_mask=None):
            return super()._build_cache(token_ids)

    backbone = models.GPT2Backbone(**SIZES, num_heads=4, max_sequence_length=64, dropout=0.0)
    model = Hybrid(backbone)
    assert not kv_cache.is_supported(model)
    new, _ = _compile(model, STOP)(PROMPTS, LENGTHS)
    expected, _ = _compile(models.GPT2CausalLM(backbone), STOP)(PROMPTS, LENGTHS)
    np.testing.assert_array_equal(new, expected)
    with pytest.raises(UserError, match="the samplers greedy and beam. Received: TopK"):
        _compile(model, STOP, TopK())(PROMPTS, LENGTHS)


def test_beam_search_finds_sequences_that_are_at_least_as_probable():
    model = _make("gpt2")

    def log_probability(new, row):
        ids = np.concatenate([PROMPTS[row, : LENGTHS[row]], new[row]])[None]
        logits = model({"token_ids": ids, "padding_mask": np.ones_like(ids)}).numpy()[0]
        log_probabilities = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        return sum(log_probabilities[i - 1, ids[0, i]] for i in range(LENGTHS[row], ids.shape[1]))

    greedy, _ = _compile(model, [60])(PROMPTS, LENGTHS)
    beam, _ = _compile(model, [60], Beam(beams=4))(PROMPTS, LENGTHS)
    gains = [log_probability(beam.numpy(), row) - log_probability(greedy.numpy(), row) for row in range(4)]
    assert sum(gains) > 1


def test_dense_layers_are_one_product_where_lengths_are_unknown():
    layer = keras.layers.EinsumDense("abc,cde->abde", output_shape=(None, 2, 3))
    layer.build((None, None, 4))
    x = np.random.default_rng(0).standard_normal((2, 5, 4)).astype(np.float32)

    def call(x):
        with kv_cache.products_of_matrices():
            return layer(x)

    function = tf.function(call, input_signature=[tf.TensorSpec([None, None, 4])], autograph=False)
    operations = [operation.type for operation in function.get_concrete_function().graph.get_operations()]
    assert "MatMul" in operations
    assert "Einsum" not in operations
    np.testing.assert_allclose(function(x), layer(x), rtol=1e-5)
