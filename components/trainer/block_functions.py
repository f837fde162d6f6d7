"""Functions in a graph that serves: each kind of transformer block is traced once, and called with the weights of each block.

TensorFlow's graph of a model of 30 blocks holds each operation of a block 30 times, and each of its variables in every function
that leads to where it is read. Python builds all of it, and whoever loads a SavedModel builds it again: minutes. Here a kind of
block is one function that takes weights as arguments, and what is exported has one variable for a weight of all blocks of a kind,
which is taken apart without a copy.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf

from components.trainer.shared_trace import ForeignVariableError, check_captures, describe_layer, read_values

# From the call of a block, its arguments, and its own tensors (of a cache) to its output, and tensors that it hands on.
Compute = Callable[[Callable[..., Any], Sequence[Any], dict[str, Any], list[tf.Tensor]], tuple[Any, list[tf.Tensor]]]


def compute_plainly(
    call: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], _: list[tf.Tensor]
) -> tuple[Any, list[tf.Tensor]]:
    """A `Compute` that does what the block does."""
    return call(*args, **kwargs), []


class Blocks:
    """The transformer blocks of a model, by kind."""

    def __init__(self, model: keras.Model, stack: bool = False, move: bool = False):
        """Sorts them.

        Args:
            model: A KerasHub causal LM; one without a list of blocks has none here.
            stack: Whether a weight of all blocks of a kind becomes one variable, in the dtype in which it is used: a copy.
            move: Whether the blocks lose the weights that were copied, so that memory holds them once. The model is good for
                nothing but these functions then.
        """
        self.blocks = tuple(getattr(model.backbone, "transformer_layers", None) or ())
        kinds: dict[Any, list[int]] = {}
        for number, block in enumerate(self.blocks):
            kinds.setdefault(describe_layer(block), []).append(number)
        self.kinds = tuple(tuple(numbers) for numbers in kinds.values())
        self._stacked: set[int] = set()
        self.stacks = [self._stack(numbers, move) if stack and len(numbers) > 1 else [] for numbers in self.kinds]

    def list_other_variables(self, variables: Sequence[keras.Variable]) -> list[keras.Variable]:
        """Returns those of a model's variables that have not become part of another one."""
        return [variable for variable in variables if id(variable) not in self._stacked]

    def read(self) -> dict[int, list[tf.Tensor]]:
        """Returns the values of each block's weights as they are stored, in the graph at hand."""
        values: dict[int, list[tf.Tensor]] = {}
        for numbers, stacks in zip(self.kinds, self.stacks, strict=True):
            if stacks:
                # Without a copy, where a weight's size is a multiple of 64 bytes.
                parts = [tf.unstack(tf.convert_to_tensor(variable)) for variable in stacks]
                values |= {number: [part[place] for part in parts] for place, number in enumerate(numbers)}
            else:
                values |= {
                    number: [tf.convert_to_tensor(value) for value in read_values(self.blocks[number].weights)]
                    for number in numbers
                }
        return values

    def _stack(self, numbers: Sequence[int], move: bool) -> list[tf.Variable]:
        stacks = []
        dtypes = _list_dtypes(self.blocks[numbers[0]])
        for weights in zip(*(self.blocks[number].weights for number in numbers), strict=True):
            values = [tf.cast(value, dtypes[id(weights[0])]) for value in read_values(list(weights))]
            stacks.append(tf.Variable(tf.stack(values), trainable=False))
            for weight in weights:
                self._stacked.add(id(weight))
                if move:
                    weight._value = None
        return stacks


def _list_dtypes(block: keras.layers.Layer) -> dict[int, str]:
    """Returns the dtype in which each weight is used, by the weight's identity: under a mixed policy not that of the variable."""
    return {
        id(weight): layer.compute_dtype
        if weight._autocast and layer.autocast and keras.backend.is_float_dtype(weight.dtype)
        else weight.dtype
        for layer in block._flatten_layers()
        for weight in (*layer._trainable_variables, *layer._non_trainable_variables)
    }


class BlockFunctions:
    """Blocks as calls of shared functions, within `installed`."""

    def __init__(self, blocks: Blocks, compute: Compute = compute_plainly):
        """Sets them up; a function is traced when its first block is called.

        Args:
            blocks: The model's.
            compute: What a block does.
        """
        self.num_blocks = len(blocks.blocks)
        self._blocks = blocks
        self._compute = compute
        self._calls = [block.call for block in blocks.blocks]
        self._functions: dict[int, Any] = {}
        for numbers in blocks.kinds:
            # Any block of a kind stands for all.
            self._functions |= dict.fromkeys(numbers, self._make_function(numbers[0], is_shared=True))
        self._handed_on: dict[int, list[tf.Tensor]] = {}

    @contextlib.contextmanager
    def installed(self, own: Callable[[int], list[tf.Tensor]] = lambda _: []) -> Iterator[None]:
        """Makes the blocks call the functions, in the graph at hand.

        Args:
            own: From the number of a block to its own tensors.
        """
        self._handed_on, values = {}, self._blocks.read()

        def call(number: int, *args: Any, **kwargs: Any) -> Any:
            given = (values[number], own(number), args, kwargs)
            try:
                outputs, self._handed_on[number] = self._functions[number](*given)
            except ForeignVariableError:
                self._functions[number] = self._make_function(number, is_shared=False)
                outputs, self._handed_on[number] = self._functions[number](*given)
            return outputs

        blocks = self._blocks.blocks
        before = [vars(block).get("call") for block in blocks]
        for number, block in enumerate(blocks):
            block.call = functools.partial(call, number)
        try:
            yield
        finally:
            for block, earlier in zip(blocks, before, strict=True):
                del block.call
                if earlier is not None:
                    block.call = earlier

    def list_handed_on(self) -> list[tf.Tensor]:
        """Returns what the blocks handed on when they were called last, one block after the other."""
        return [tensor for number in range(len(self._handed_on)) for tensor in self._handed_on[number]]

    def _make_function(self, number: int, is_shared: bool) -> Any:
        return tf.function(
            functools.partial(self._run, self._blocks.blocks[number], self._calls[number], self._compute, is_shared),
            autograph=False,
            # Not inlined: the graph would become as large as without functions when it runs.
            experimental_attributes={"_noinline": True},
        )

    @staticmethod
    def _run(
        block: keras.layers.Layer,
        call: Callable[..., Any],
        compute: Compute,
        is_shared: bool,
        values: list[tf.Tensor],
        own: list[tf.Tensor],
        args: Sequence[Any],
        kwargs: dict[str, Any],
    ) -> Any:
        # Its weights have other values here: those of the block that is meant.
        with keras.StatelessScope(state_mapping=list(zip(block.weights, values, strict=True))):
            results = compute(call, args, kwargs, own)
        if is_shared:
            check_captures()
        return results
