"""Full fine-tuning: every weight of the model is trained."""

import dataclasses
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras_hub
    import numpy as np


@dataclasses.dataclass(frozen=True, kw_only=True)
class FullFineTuning:
    """Trains all weights `W` of the preset, embeddings included: `W <- W - update(W)`.

    It adds nothing, so there is nothing to merge and no adapter. It needs memory for the gradient and two optimizer
    slots of every weight: about four times the model's size in float32. The weights must be float32 (`dtype` float32
    or a mixed policy).
    """

    def apply(self, model: "keras_hub.models.CausalLM") -> None:
        """Makes every weight of `model` trainable."""
        for layer in model._flatten_layers():
            layer.trainable = True

    def merge(self, model: "keras_hub.models.CausalLM") -> None:
        """Does nothing: the tuned weights are the model's own."""

    def adapter_weights(self, model: "keras_hub.models.CausalLM") -> "dict[str, np.ndarray]":
        """Returns {}: nothing was added."""
        return {}

    def load_adapter(self, model: "keras_hub.models.CausalLM", weights: "dict[str, np.ndarray]") -> None:
        """Accepts only the empty adapter.

        Raises:
            ValueError: `weights` is not empty.
        """
        if weights:
            raise ValueError(f"full fine-tuning has no adapter weights. Received: {', '.join(sorted(weights))}")

    def count_trainable(self, model: "keras_hub.models.CausalLM") -> int:
        """All parameters of `model`."""
        return sum(math.prod(weight.shape) for weight in model.weights)
