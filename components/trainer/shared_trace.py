"""One trace for all transformer blocks that are alike.

TensorFlow's graph of a model of 30 blocks holds each operation of a block 30 times, and Python builds each of them: most of the
time that a short training needs before its first step. Here blocks of one kind call one function, which is traced once and
takes a block's weights as arguments.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import keras
from absl import logging
from keras import ops

from components.trainer.model import list_generators

# Attributes that every layer has say nothing about what it computes, but for these.
_TELLING = ("_dtype_policy", "autocast", "activity_regularizer")


def share_trace(model: keras.Model) -> None:
    """Makes transformer blocks that are alike share one traced function, in place; call it after a method was applied.

    Losses and gradients stay the same within rounding, with dropout too: a block's generators go in and come out as its
    weights do. Blocks are alike if they have the same class, the same options, and weights of the same shapes of which the
    same ones are trained; a model whose blocks alternate gets one function for each kind. Nothing changes outside of a
    `tf.function`, or where a model has no list of blocks, or on JAX, whose `jit` traces all blocks.

    Args:
        model: a KerasHub causal LM.
    """
    if keras.backend.backend() != "tensorflow":
        return
    kinds: dict[Any, _Kind] = {}
    for block in getattr(model.backbone, "transformer_layers", None) or ():
        kind = kinds.setdefault(describe_layer(block), _Kind(block))
        block.call = functools.partial(_call_shared, kind, block, block.call)


def restore_calls(model: keras.Model) -> None:
    """Takes back `share_trace` and `rematerialize`."""
    for block in getattr(model.backbone, "transformer_layers", None) or ():
        vars(block).pop("call", None)


def read_values(variables: list[Any]) -> list[Any]:
    """The variables' values as they are stored, also where a mixed policy would hand them out in its compute dtype."""
    from keras.src.backend.common.variables import AutocastScope  # there is no public way

    with AutocastScope(None):
        return [ops.convert_to_tensor(variable) for variable in variables]


class ForeignVariableError(Exception):
    """A block reads a variable that is not among its weights: in a shared function it would be the first block's for all."""


class _Kind:
    """What blocks that are alike share."""

    def __init__(self, block: keras.layers.Layer) -> None:
        import tensorflow as tf

        self.block, self.call, self.is_shared = block, block.call, True
        self.run = tf.function(self._run, autograph=False)

    def _run(self, values: list[Any], states: list[Any], args: Any, kwargs: Any) -> tuple[Any, list[Any]]:
        # Frozen weights are arguments too: without this, the function's gradient would compute theirs as in full tuning.
        weights = list(self.block.weights)
        values = [
            value if weight.trainable else ops.stop_gradient(value)
            for weight, value in zip(weights, values, strict=True)
        ]
        generators = list_generators(self.block)
        mapping = list(zip([*generators, *weights], [*states, *values], strict=True))
        with keras.StatelessScope(state_mapping=mapping) as scope:
            outputs = self.call(*args, **kwargs)
            after = [scope.get_current_value(generator) for generator in generators]
        check_captures()
        return outputs, after


def check_captures() -> None:
    """Checks that the function that is being traced reads no variable but those that are its arguments.

    Raises:
        ForeignVariableError: It does.
    """
    import tensorflow as tf

    captures = tf.compat.v1.get_default_graph().captures
    if any(outer.dtype == tf.resource for outer, _ in captures):
        raise ForeignVariableError


def _call_shared(kind: _Kind, block: keras.layers.Layer, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    import tensorflow as tf

    is_symbolic = any(isinstance(leaf, keras.KerasTensor) for leaf in keras.tree.flatten((args, kwargs)))
    if not kind.is_shared or is_symbolic or not tf.inside_function():
        return call(*args, **kwargs)
    generators = list_generators(block)
    values = [tf.convert_to_tensor(value) for value in read_values(block.weights)]
    states = [ops.copy(generator.value) for generator in generators]
    try:
        outputs, after = kind.run(values, states, args, kwargs)
    except ForeignVariableError:
        kind.is_shared = False
        logging.info(
            "Blocks like %s are traced one by one: they read variables that are not their weights.", block.name
        )
        return call(*args, **kwargs)
    for generator, state in zip(generators, after, strict=True):
        generator.assign(state)
    return outputs


def describe_layer(layer: keras.layers.Layer) -> tuple[Any, ...]:
    """A hashable description of what a layer computes but for the values of its weights: equal ones compute the same.

    What cannot be compared is described by its identity, so that layers are rather held to be different than to be alike.
    """
    silent = set(_list_common_attributes()) - set(_TELLING)
    own = {
        key: _describe(value)
        for key, value in vars(layer).items()
        if key not in silent and not key.endswith("initializer")  # which has done its work
    }
    children = tuple(map(describe_layer, layer._flatten_layers(include_self=False, recursive=False)))
    variables = tuple((tuple(v.shape), v.dtype, v.trainable) for v in layer.variables)
    return type(layer), tuple(sorted(own.items())), children, variables


@functools.cache
def _list_common_attributes() -> tuple[str, ...]:
    layer = keras.layers.Layer()
    layer.child = keras.layers.Layer()  # with one, TensorFlow's bookkeeping of what it tracks is there too
    layer.build(())
    return tuple(vars(layer))


def _describe(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str | bytes | type):
        return type(value).__name__, value
    if isinstance(value, list | tuple | set | frozenset):
        return type(value).__name__, tuple(map(_describe, value))
    if isinstance(value, dict):
        return "dict", tuple((str(key), _describe(item)) for key, item in value.items())
    if isinstance(value, keras.Variable | keras.layers.Layer | keras.random.SeedGenerator):
        return type(value).__name__  # described by `describe_layer`
    if isinstance(value, keras.DTypePolicy | keras.layers.InputSpec | inspect.Signature):
        return type(value).__name__, repr(value)
    if isinstance(value, functools.partial):
        return "partial", _describe(value.func), _describe(value.args), _describe(value.keywords)
    if inspect.ismethod(value):
        return "method", value.__qualname__, type(value.__self__)
    if inspect.isfunction(value):
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
        return value.__module__, value.__qualname__, _describe(cells), _describe(value.__defaults__)
    return id(value)
