"""Mends of KerasHub's backbones: arguments that do not reach the layers, or are not saved."""

import functools
from collections.abc import Callable
from typing import Any

from keras_hub.models import Gemma3Backbone, GemmaBackbone, LlamaBackbone, Qwen3Backbone
from keras_hub.src.models.gemma.rms_normalization import RMSNormalization
from keras_hub.src.models.gemma3.gemma3_layers import RMSNormalization as Gemma3RMSNormalization
from keras_hub.src.models.llama.llama_rotary_embedding import LlamaRotaryEmbedding
from keras_hub.src.models.qwen3.qwen3_layernorm import Qwen3LayerNorm


def mend() -> None:
    """Mends the backbones of Llama, Qwen 3 and the Gemmas."""
    # A preset of a model with tied embeddings could not be loaded: "expected 2 variables, but received 0".
    config = LlamaBackbone.get_config
    LlamaBackbone.get_config = lambda self: {**config(self), "tie_word_embeddings": self.tie_word_embeddings}
    # `rope_position_scaling_factor` was given to the layers, which did not use it.
    frequencies = LlamaRotaryEmbedding._get_inverse_freq
    LlamaRotaryEmbedding._get_inverse_freq = lambda self, size: frequencies(self, size) / self.position_scaling_factor
    # `layer_norm_epsilon` did not reach the normalisations of queries and keys (which took 1e-5), ...
    Qwen3Backbone.__init__ = _pass_on(Qwen3Backbone.__init__, Qwen3LayerNorm)
    # ... in Gemma none but the last. And `query_head_dim_normalize` reached no layer: Gemma 2 and 3 with 27 billion parameters divide
    # queries by another root.
    GemmaBackbone.__init__ = _pass_on(GemmaBackbone.__init__, RMSNormalization)
    Gemma3Backbone.__init__ = _pass_on(Gemma3Backbone.__init__, Gemma3RMSNormalization)


def _pass_on(init: Callable[..., None], normalization: Any) -> Callable[..., None]:
    @functools.wraps(init)
    def initialize(self: Any, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        # Layers read both at each call, and nothing has been traced yet.
        for layer in self._flatten_layers():
            if isinstance(layer, normalization):
                layer.epsilon = self.layer_norm_epsilon
        if hasattr(self, "query_head_dim_normalize"):
            for block in self.transformer_layers:
                block.attention.query_head_dim_normalize = self.query_head_dim_normalize

    return initialize
