"""TokenScorer: a TFX component that gives every response token its influence."""

import json
from typing import Any

from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import channel_utils, component_spec, standard_artifacts
from tfx.types.channel import BaseChannel

from components.token_scorer.executor import Executor


class TokenScorerSpec(component_spec.ComponentSpec):
    """Inputs, outputs and parameters of `TokenScorer`."""

    PARAMETERS = {
        "scoring": component_spec.ExecutionParameter(type=str),
        "preset_hash": component_spec.ExecutionParameter(type=str),
        "code_hash": component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {
        "examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "reference_model": component_spec.ChannelParameter(type=standard_artifacts.Model, optional=True),
    }
    OUTPUTS = {"scored_examples": component_spec.ChannelParameter(type=standard_artifacts.Examples)}


class TokenScorer(base_beam_component.BaseBeamComponent):
    """Scores one split of tokenized examples: loss under the base model minus loss under the reference model.

    Pang et al., *Token Cleaning*, ICML 2025 (arXiv 2502.01968). The output has the splits `train`, scored, and `eval`.
    """

    SPEC_CLASS = TokenScorerSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(
        self,
        examples: BaseChannel,
        scoring: dict[str, Any],
        preset_hash: str,
        code_hash: str,
        reference_model: BaseChannel | None = None,
    ):
        """Makes the node.

        Args:
            examples: Tokenized examples with the split to score and a split `eval`.
            scoring: `strategy`, `split` (the one to score), `base` and `reference` (presets; "" where there is none),
                `dtype`, `batch_size`, `seed`.
            preset_hash: Hash of both presets' content; a changed preset runs the node again.
            code_hash: Hash of the code that the node runs, for the same purpose.
            reference_model: A trained model whose preset is the reference, instead of `scoring["reference"]`.
        """
        super().__init__(
            spec=TokenScorerSpec(
                examples=examples,
                reference_model=reference_model,
                scoring=json.dumps(scoring, sort_keys=True),
                preset_hash=preset_hash,
                code_hash=code_hash,
                scored_examples=channel_utils.as_channel([standard_artifacts.Examples()]),
            )
        )
