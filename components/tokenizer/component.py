"""Tokenizer: a TFX component that turns raw examples into token ids with the template and the preset of the run."""

import json
from typing import Any

from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import channel_utils, component_spec, standard_artifacts
from tfx.types.channel import BaseChannel

from components.tokenizer.executor import Executor


class TokenizerSpec(component_spec.ComponentSpec):
    """Inputs, outputs and parameters of `Tokenizer`."""

    PARAMETERS = {
        "text": component_spec.ExecutionParameter(type=str),
        "preset": component_spec.ExecutionParameter(type=str),
        "preset_hash": component_spec.ExecutionParameter(type=str),
        "code_hash": component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {"examples": component_spec.ChannelParameter(type=standard_artifacts.Examples)}
    OUTPUTS = {"tokenized_examples": component_spec.ChannelParameter(type=standard_artifacts.Examples)}


class Tokenizer(base_beam_component.BaseBeamComponent):
    """Cleans, renders and tokenizes raw examples; see `components.text.features` for what it reads and writes."""

    SPEC_CLASS = TokenizerSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(self, examples: BaseChannel, text: dict[str, Any], preset: str, preset_hash: str, code_hash: str):
        """Makes the node.

        Args:
            examples: Raw examples, any splits.
            text: The run's `text` section.
            preset: The preset whose tokenizer is used.
            preset_hash: Hash of the preset's content; a changed preset runs the node again.
            code_hash: Hash of the code that the node runs, for the same purpose.
        """
        super().__init__(
            spec=TokenizerSpec(
                examples=examples,
                text=json.dumps(text, sort_keys=True),
                preset=preset,
                preset_hash=preset_hash,
                code_hash=code_hash,
                tokenized_examples=channel_utils.as_channel([standard_artifacts.Examples()]),
            )
        )
