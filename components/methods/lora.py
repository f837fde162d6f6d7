"""LoRA: low-rank adaptation of the model's linear layers."""

import dataclasses
import math
from typing import TYPE_CHECKING, Any

from components.methods.layers import find_kernel_layers, select_layers
from components.methods.low_rank import compute_beside_kernel, restore_call

if TYPE_CHECKING:
    import keras_hub
    import numpy as np


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoRA:
    """Freezes the preset and trains a product of two thin matrices beside each chosen kernel.

    Hu et al., *LoRA: Low-Rank Adaptation of Large Language Models*, ICLR 2022 (arXiv 2106.09685):

        kernel = W + alpha / rank * A B      W: (..., m, n) frozen, A: (..., m, rank), B: (rank, n)

    A starts uniform (He), B at zero, so that tuning starts from the preset's outputs; with `alpha: 0` it stays there.
    Both are float32 whatever the model's dtype. Variables are those of Keras' own `enable_lora`. Keras factors the
    *last* axis of a kernel: exactly the paper's form for Dense layers (`(inputs, outputs)`) and for the attention's
    output (`(heads, head_dim, outputs)`); for query, key and value kernels (`(inputs, heads, head_dim)`) A has a row for
    each input *and head*, and the heads share B. So `rank` there is bounded by `head_dim`, and the trainable count is
    `rank * (inputs * heads + head_dim)` instead of the paper's `rank * (inputs + heads * head_dim)`.

    Attributes:
        rank: columns of A and rows of B, at least 1.
        alpha: scale of the update is `alpha / rank`; None is `2 * rank`, the usual choice.
        target_layer_names: the layers to adapt, each by the last part of its path (`query`, `self_attention/query`).
            None adapts every linear layer of attention and feed-forward, which tunes best for a given number of
            parameters (Dettmers et al., *QLoRA*, arXiv 2305.14314, section 4). Embeddings (tied to the output layer
            in many models) stay frozen.
    """

    rank: int = 8
    alpha: float | None = None
    target_layer_names: list[str] | None = None

    def __post_init__(self) -> None:
        """Checks the options.

        Raises:
            ValueError: an option has the wrong type or is out of range.
        """
        if not isinstance(self.rank, int) or isinstance(self.rank, bool) or self.rank < 1:
            raise ValueError(f"`rank` must be an integer of at least 1. Received: {self.rank!r}")
        if self.alpha is not None and (
            not isinstance(self.alpha, int | float)
            or isinstance(self.alpha, bool)
            or not math.isfinite(self.alpha)
            or self.alpha < 0
        ):
            raise ValueError(f"`alpha` must be a number of at least 0, or null. Received: {self.alpha!r}")
        names = self.target_layer_names
        if names is not None and (
            not isinstance(names, list | tuple) or not names or not all(isinstance(n, str) and n for n in names)
        ):
            raise ValueError(f"`target_layer_names` must be a list of at least one layer name. Received: {names!r}")

    @property
    def scale(self) -> float:
        """`alpha / rank`, the factor of the update A B."""
        return (2 * self.rank if self.alpha is None else self.alpha) / self.rank

    def apply(self, model: "keras_hub.models.CausalLM") -> None:
        """Freezes all weights of `model`, then adds A and B to the chosen layers.

        Raises:
            UserError: a name of `target_layer_names` matches no layer.
        """
        layers = self._select(model)  # first: a wrong name must leave the model as it was
        for weight in model.weights:
            weight.trainable = False
        for layer in layers.values():
            layer.enable_lora(self.rank, lora_alpha=self.scale * self.rank)
            compute_beside_kernel(layer)

    def merge(self, model: "keras_hub.models.CausalLM") -> None:
        """Adds `alpha / rank * A B` to each kernel and removes A and B, in place.

        In place, because a second copy of a large model may not fit into memory, and because the model keeps its
        tokenizer. The sum is made in float32 and rounded once to the kernel's dtype (Keras' own merge rounds to the
        compute dtype, which would lose bits under a mixed policy). All weights stay as trainable as they are.
        """
        from keras import ops

        for layer in self._adapted(model).values():
            update = self.scale * ops.matmul(layer.lora_kernel_a, layer.lora_kernel_b)  # kernel shape, float32
            layer._kernel.assign(ops.cast(ops.cast(layer._kernel, "float32") + update, layer._kernel.dtype))
            for attribute in ("lora_kernel_a", "lora_kernel_b"):
                # Not `delattr`: Keras then collects the garbage of the whole process, 0.2 s for each of 48 and more.
                layer._untrack_variable(vars(layer).pop(attribute))
            restore_call(layer)
            layer.lora_enabled = False
            layer.lora_rank = layer.lora_alpha = None
        # Compiled functions of the model still hold A and B.
        model.train_function = model.test_function = model.predict_function = model.generate_function = None

    def adapter_weights(self, model: "keras_hub.models.CausalLM") -> "dict[str, np.ndarray]":
        """A and B of every adapted layer as `<layer path>/lora_a` and `<layer path>/lora_b`, float32."""
        from keras import ops

        weights = {}
        for path, layer in self._adapted(model).items():
            weights[f"{path}/lora_a"] = ops.convert_to_numpy(layer.lora_kernel_a)
            weights[f"{path}/lora_b"] = ops.convert_to_numpy(layer.lora_kernel_b)
        return weights

    def load_adapter(self, model: "keras_hub.models.CausalLM", weights: "dict[str, np.ndarray]") -> None:
        """Sets A and B from `adapter_weights` of a model of the same shape.

        Raises:
            ValueError: names or shapes differ from those of `model`; nothing was changed.
        """
        variables: dict[str, Any] = {}
        for path, layer in self._adapted(model).items():
            variables |= {f"{path}/lora_a": layer.lora_kernel_a, f"{path}/lora_b": layer.lora_kernel_b}
        if set(weights) != set(variables):
            raise ValueError(
                "adapter weights must be those of the adapted layers. "
                f"Missing: {sorted(set(variables) - set(weights))}. Unknown: {sorted(set(weights) - set(variables))}."
            )
        for name, variable in variables.items():
            if tuple(weights[name].shape) != tuple(variable.shape):
                raise ValueError(f"{name} must have shape {variable.shape}. Received: {weights[name].shape}")
        for name, variable in variables.items():
            variable.assign(weights[name])

    def count_trainable(self, model: "keras_hub.models.CausalLM") -> int:
        """Sum over the chosen layers of `rank * (size of the kernel without its last axis + last axis)`."""
        shapes = [tuple(layer._kernel.shape) for layer in self._select(model).values()]
        return sum(self.rank * (math.prod(shape[:-1]) + shape[-1]) for shape in shapes)

    def _select(self, model: "keras_hub.models.CausalLM") -> dict[str, Any]:
        return select_layers(find_kernel_layers(model), self.target_layer_names)

    def _adapted(self, model: "keras_hub.models.CausalLM") -> dict[str, Any]:
        return {path: layer for path, layer in find_kernel_layers(model).items() if layer.lora_enabled}
