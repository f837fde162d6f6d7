"""Predictor: a TFX component that says what one model makes of the examples of a split."""

import json
from typing import Any

from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import channel_utils, component_spec, standard_artifacts
from tfx.types.channel import BaseChannel

from components.predictor.executor import Executor


class PredictorSpec(component_spec.ComponentSpec):
    """Inputs, outputs and parameters of `Predictor`."""

    PARAMETERS = {
        "prediction": component_spec.ExecutionParameter(type=str),
        "code_hash": component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {
        "examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "model": component_spec.ChannelParameter(type=standard_artifacts.Model, optional=True),
        "like": component_spec.ChannelParameter(type=standard_artifacts.Model, optional=True),
    }
    OUTPUTS = {"predictions": component_spec.ChannelParameter(type=standard_artifacts.InferenceResult)}


class Predictor(base_beam_component.BaseBeamComponent):
    """Runs a model over a split: losses of the references and, if asked for, completions.

    Candidate, baseline and untouched preset each have a node, so that what a model has said of these examples is said once:
    another run with the same preset and the same baseline takes both from the cache.
    """

    SPEC_CLASS = PredictorSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(
        self,
        examples: BaseChannel,
        model: BaseChannel,
        prediction: dict[str, Any],
        code_hash: str,
        like: BaseChannel | None = None,
    ):
        """Makes the node.

        Args:
            examples: Tokenized examples.
            model: The model; may hold none, which gives no predictions.
            prediction: `split`, `batch_size`, `complete`, whether completions are needed, and `choices`, whose losses are needed.
            code_hash: Hash of the code that the node runs; an edit runs it again.
            like: A model that these examples are for; one of another tokenizer or template is not asked.
        """
        super().__init__(
            spec=PredictorSpec(
                examples=examples,
                model=model,
                like=like,
                prediction=json.dumps(prediction, sort_keys=True),
                code_hash=code_hash,
                predictions=channel_utils.as_channel([standard_artifacts.InferenceResult()]),
            )
        )
