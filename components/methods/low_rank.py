"""How layers with a low-rank update compute: beside the kernel, not through it."""

from typing import Any


def compute_beside_kernel(layer: Any) -> None:
    """Makes a `Dense` or `EinsumDense` layer with LoRA compute `x W + (x A) B * scale`, in place, until `restore_call`.

    Keras 3.15 computes `x (W + A B * scale)` (`kernel` in keras/src/layers/core/dense.py and einsum_dense.py). That is the same
    number, but its gradient by A and B goes through that of the whole kernel: as many products as full tuning, and a kernel
    more in memory. Keras' own quantized layers compute as here.

    Args:
        layer: on which `enable_lora` was called.
    """
    from keras import ops

    is_einsum = hasattr(layer, "equation")

    def project(inputs: Any, kernel: Any) -> Any:
        return ops.einsum(layer.equation, inputs, kernel) if is_einsum else ops.matmul(inputs, kernel)

    def call(inputs: Any, training: bool | None = None) -> Any:
        # The last axis of a kernel is one of the output: A takes its place with `rank` columns, and B brings it back.
        a, b = (ops.cast(factor, layer.compute_dtype) for factor in (layer.lora_kernel_a, layer.lora_kernel_b))
        thin = project(inputs, a) * (layer.lora_alpha / layer.lora_rank)  # (..., rank)
        outputs = project(inputs, layer._kernel) + ops.matmul(thin, b)
        if layer.bias is not None:
            outputs = ops.add(outputs, layer.bias)
        return outputs if layer.activation is None else layer.activation(outputs)

    if not is_einsum or _ends_in_output_axis(layer.equation):
        layer.call = call


def restore_call(layer: Any) -> None:
    """Takes back `compute_beside_kernel`."""
    vars(layer).pop("call", None)


def _ends_in_output_axis(equation: str) -> bool:
    operands, output = equation.replace(" ", "").split("->")
    inputs, kernel = operands.split(",")
    return output.endswith(kernel[-1]) and kernel[-1] not in inputs
