"""Weights in the layout of another library: names, shapes, and values that are computed when they are asked for."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """One tensor of the layout, made of one or several of the model's variables.

    Attributes:
        name: In the layout, such as `model.norm.weight`.
        variables: The Keras variables that it is made of.
        transform: From their values, as arrays, to its own; it only moves numbers (transposes, reshapes, concatenates).
    """

    name: str
    variables: Sequence[Any]
    transform: Callable[..., np.ndarray]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape, found without reading a value: the stand-ins take no memory."""
        return self.transform(*(np.broadcast_to(np.int8(0), variable.shape) for variable in self.variables)).shape

    @property
    def dtype(self) -> str:
        """The dtype of the variables, as Keras names it."""
        return keras.backend.standardize_dtype(self.variables[0].dtype)

    def read(self) -> np.ndarray:
        """Returns the values."""
        return self.transform(*(keras.ops.convert_to_numpy(variable) for variable in self.variables))


def keep(name: str, variable: Any) -> Tensor:
    """A tensor that is laid out as the variable is."""
    return Tensor(name=name, variables=[variable], transform=lambda value: value)


def flip(name: str, variable: Any) -> Tensor:
    """A kernel (in, out) as a matrix (out, in)."""
    return Tensor(name=name, variables=[variable], transform=lambda value: value.T)


def flatten(name: str, variable: Any) -> Tensor:
    """A bias (heads, head size) as a vector."""
    return Tensor(name=name, variables=[variable], transform=lambda value: value.reshape(-1))


def flip_heads(name: str, variable: Any) -> Tensor:
    """A kernel (in, heads, head size) as a matrix (heads * head size, in)."""
    return Tensor(name=name, variables=[variable], transform=lambda value: value.reshape(value.shape[0], -1).T)


def flip_from_heads(name: str, variable: Any) -> Tensor:
    """A kernel (heads, head size, out) as a matrix (out, heads * head size)."""
    return Tensor(name=name, variables=[variable], transform=lambda value: value.reshape(-1, value.shape[-1]).T)


def list_embeddings(embedding: Any, name: str) -> Iterator[Tensor]:
    """The token embedding, and the output layer where it has weights of its own.

    Args:
        embedding: KerasHub's `ReversibleEmbedding`.
        name: Of the embedding in the layout.
    """
    yield keep(name, embedding.embeddings)
    if not embedding.tie_weights:
        yield flip("lm_head.weight", embedding.reverse_embeddings)
