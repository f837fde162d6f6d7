"""A tiny model to tune."""

import pytest


@pytest.fixture
def make_tiny_model():
    """Returns a function that builds the same GPT-2 (2 layers, 32 wide, 64 tokens) each time, no files needed."""
    import keras
    import keras_hub

    def make(seed=0, dtype="float32", dropout=0.0):
        keras.utils.set_random_seed(seed)
        backbone = keras_hub.models.GPT2Backbone(
            vocabulary_size=64,
            num_layers=2,
            num_heads=2,
            hidden_dim=32,
            intermediate_dim=64,
            max_sequence_length=32,
            dropout=dropout,
            dtype=dtype,
        )
        return keras_hub.models.GPT2CausalLM(backbone=backbone)

    return make


@pytest.fixture
def inputs():
    import numpy as np

    token_ids = np.random.default_rng(0).integers(1, 64, (4, 12)).astype("int32")  # (batch, sequence_length)
    return {"token_ids": token_ids, "padding_mask": np.ones_like(token_ids)}
