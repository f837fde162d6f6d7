"""The output layer at chosen positions only: most positions are prompt, padding or cleaned away, and need no logits.

Logits are the largest array of a training step by far: a vocabulary of 50,257 has 65 numbers for each of the 768 of a hidden
state. The result at the chosen positions is the model's own, whichever they are.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
from keras import ops


class TargetHead(NamedTuple):
    """A causal LM cut before its output layer.

    Attributes:
        states: Keras tensor (batch, length, width), a function of the model's inputs.
        project: From states (rows, width) to logits (rows, vocabulary_size), in the model's compute dtype.
    """

    states: Any
    project: Callable[[Any], Any]


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
            return TargetHead(states, lambda rows: embedding(rows, reverse=True))
    return TargetHead(model.output, lambda rows: rows)


def take_positions(states: Any, positions: Any) -> Any:
    """Returns the states at flat positions.

    Args:
        states: (batch, length, width).
        positions: int32 (rows,), each `row * length + column`.

    Returns:
        (rows, width).
    """
    return ops.take(ops.reshape(states, (-1, states.shape[-1])), positions, axis=0)
