"""Partitioner: a TFX component that cuts the training split into parts, each a split of its own."""

import json

from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import channel_utils, component_spec, standard_artifacts
from tfx.types.channel import BaseChannel

from components.partitioner.executor import Executor


class PartitionerSpec(component_spec.ComponentSpec):
    """Inputs, outputs and parameters of `Partitioner`."""

    PARAMETERS = {
        "shares": component_spec.ExecutionParameter(type=str),
        "seed": component_spec.ExecutionParameter(type=int),
        "code_hash": component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {"examples": component_spec.ChannelParameter(type=standard_artifacts.Examples)}
    OUTPUTS = {"parts": component_spec.ChannelParameter(type=standard_artifacts.Examples)}


class Partitioner(base_beam_component.BaseBeamComponent):
    """Assigns each training example to a part by a hash of its id; the eval split comes along as it is."""

    SPEC_CLASS = PartitionerSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(self, examples: BaseChannel, shares: dict[str, float], seed: int, code_hash: str):
        """Makes the node.

        Args:
            examples: Tokenized examples with the splits `train` and `eval`.
            shares: Share of the training examples by the name of the part, in order; what they leave is in no part.
            seed: Another seed cuts otherwise.
            code_hash: Hash of the code that the node runs; an edit runs it again.
        """
        super().__init__(
            spec=PartitionerSpec(
                examples=examples,
                shares=json.dumps(shares),
                seed=seed,
                code_hash=code_hash,
                parts=channel_utils.as_channel([standard_artifacts.Examples()]),
            )
        )
