"""A causal LM cut before its output layer: most positions are prompt, padding or cleaned away, and need no logits."""

from typing import Any, NamedTuple

import keras
from keras import ops

from components.trainer.target_loss import Projection


class TargetHead(NamedTuple):
    """A causal LM cut before its output layer.

    Attributes:
        states: Keras tensor (batch, length, width), a function of the model's inputs.
        embedding: the layer that makes logits of `states` by `embedding(states, reverse=True)`. None: `states` are the logits.
    """

    states: Any
    embedding: Any

    def project(self, rows: Any) -> Any:
        """Logits (rows, vocabulary_size), in the model's compute dtype, of states (rows, width)."""
        return rows if self.embedding is None else self.embedding(rows, reverse=True)

    def get_projection(self) -> Projection | None:
        """The output layer as a matrix product; None where it is something else (no embedding, or a quantized one)."""
        layer = self.embedding
        if layer is None or layer.quantization_mode is not None:
            return None
        kernel = layer.embeddings if layer.tie_weights else layer.reverse_embeddings
        return Projection(
            kernel=ops.copy(kernel),  # a value: custom gradients of TensorFlow take no variables
            is_transposed=not layer.tie_weights,
            is_trained=bool(layer.trainable_variables),
            soft_cap=layer.logit_soft_cap,
            dtype=layer.reverse_dtype or layer.compute_dtype,
        )


def split_head(model: keras.Model) -> TargetHead:
    """Cuts `model` before its output layer.

    Where a model does something else than its token embedding in reverse at its end, `states` are the logits themselves:
    as right, without the saving.

    Args:
        model: a KerasHub causal LM, or any functional model with logits (batch, length, vocabulary_size).
    """
    backbone = getattr(model, "backbone", None)
    embedding = getattr(backbone, "token_embedding", None)
    operation, node_index, _ = model.output._keras_history
    if embedding is not None and operation is embedding:
        states = operation._inbound_nodes[node_index].input_tensors[0]
        if states._keras_history.operation is backbone:
            return TargetHead(states, embedding)
    return TargetHead(model.output, None)


def take_positions(states: Any, positions: Any) -> Any:
    """Returns the states at flat positions.

    Args:
        states: (batch, length, width); the batch is G groups of as many rows.
        positions: int32 (G, rows), each `row * length + column` in its group.

    Returns:
        (G, rows, width).
    """
    num_groups, width = positions.shape[0], states.shape[-1]
    if num_groups == 1:
        return ops.take(ops.reshape(states, (-1, width)), positions[0], axis=0)[None]
    states = ops.reshape(states, (num_groups, -1, width))
    return ops.vectorized_map(lambda group: ops.take(group[0], group[1], axis=0), (states, positions))
