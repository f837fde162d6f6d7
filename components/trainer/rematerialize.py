"""Gradient checkpointing: a block's activations are computed again for its gradients instead of being kept.

Chen et al., *Training Deep Nets with Sublinear Memory Cost* (arXiv 1604.06174), with one checkpoint a transformer block:
one more forward pass, and of the activations only the blocks' inputs stay in memory.
"""

from typing import Any

import keras
from keras import ops

from components.errors import UserError
from components.trainer.model import list_generators
from components.trainer.shared_trace import read_values


def rematerialize(model: keras.Model) -> None:
    """Makes the transformer blocks of `model` recompute their activations while training, in place.

    Losses and gradients stay the same within rounding, with dropout too: a block draws the same random numbers again. (`keras.RematScope` cannot be used: on TensorFlow it fails on calls with keyword arguments, which all blocks of
    KerasHub have, and draws other numbers the second time.)

    Args:
        model: a KerasHub causal LM.

    Raises:
        UserError: its blocks are not known.
    """
    blocks = getattr(model.backbone, "transformer_layers", None)
    if not blocks:
        raise UserError(
            "train.rematerialize needs a backbone with `transformer_layers`. "
            f"Received: {type(model.backbone).__name__}. Set it to false; gradient_accumulation_steps also saves memory."
        )
    for block in blocks:
        _wrap(block)


def _wrap(block: keras.layers.Layer) -> None:
    call = block.call

    def checkpointed(*args: Any, training: bool | None = None, **kwargs: Any) -> Any:
        if not training:
            return call(*args, training=training, **kwargs)
        weights, generators = list(block.weights), list_generators(block)
        leaves = keras.tree.flatten((args, kwargs))
        places = [i for i, leaf in enumerate(leaves) if ops.is_tensor(leaf)]

        def compute(inputs: Any, states: Any, values: Any) -> tuple[Any, ...]:
            filled = list(leaves)
            for i, tensor in zip(places, inputs, strict=True):
                filled[i] = tensor
            new_args, new_kwargs = keras.tree.pack_sequence_as((args, kwargs), filled)
            mapping = list(zip([*generators, *weights], [*states, *values], strict=True))
            with keras.StatelessScope(state_mapping=mapping) as scope:
                outputs = call(*new_args, training=training, **new_kwargs)
                after = [scope.get_current_value(generator) for generator in generators]
            return outputs, *after

        # All that it depends on goes in as an argument: on JAX the values of an outer scope would be constants.
        states = [ops.copy(generator.value) for generator in generators]
        values = read_values(weights)
        tensors = [*(leaves[i] for i in places), *states, *values]
        ends = len(places), len(places) + len(states)
        outputs, *after = keras.remat(
            lambda *t: compute(t[: ends[0]], t[ends[0] : ends[1]], t[ends[1] :])  # no nested arguments on TensorFlow
        )(*tensors)
        for generator, state in zip(generators, after, strict=True):
            generator.assign(state)
        return outputs

    block.call = checkpointed
