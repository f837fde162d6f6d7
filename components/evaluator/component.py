"""Evaluator: candidate against baseline and untouched preset, in TFMA, with a blessing."""

import json
from typing import Any

from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import channel_utils, component_spec, standard_artifacts
from tfx.types.channel import BaseChannel

from components.evaluator.executor import Executor


class EvaluatorSpec(component_spec.ComponentSpec):
    """Inputs, outputs and parameters of `Evaluator`."""

    PARAMETERS = {
        "evaluation": component_spec.ExecutionParameter(type=str),
        "code_hash": component_spec.ExecutionParameter(type=str),
        "root": component_spec.ExecutionParameter(type=str, optional=True),
    }
    INPUTS = {
        "predictions": component_spec.ChannelParameter(type=standard_artifacts.InferenceResult),
        "preset_predictions": component_spec.ChannelParameter(type=standard_artifacts.InferenceResult),
        "baseline_predictions": component_spec.ChannelParameter(type=standard_artifacts.InferenceResult),
        "general_predictions": component_spec.ChannelParameter(type=standard_artifacts.InferenceResult, optional=True),
        "general_preset_predictions": component_spec.ChannelParameter(
            type=standard_artifacts.InferenceResult, optional=True
        ),
        "model": component_spec.ChannelParameter(type=standard_artifacts.Model),
        "preset_model": component_spec.ChannelParameter(type=standard_artifacts.Model),
        "baseline_model": component_spec.ChannelParameter(type=standard_artifacts.Model, optional=True),
    }
    OUTPUTS = {
        "evaluation_result": component_spec.ChannelParameter(type=standard_artifacts.ModelEvaluation),
        "blessing": component_spec.ChannelParameter(type=standard_artifacts.ModelBlessing),
    }


class Evaluator(base_beam_component.BaseBeamComponent):
    """Evaluates the candidate and decides whether it is blessed.

    TFX's own Evaluator takes two models at most and no baseline but a blessed one; this one falls back on the untouched
    preset, and always measures it, so that a report can say what tuning has changed.
    """

    SPEC_CLASS = EvaluatorSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(
        self,
        predictions: BaseChannel,
        preset_predictions: BaseChannel,
        baseline_predictions: BaseChannel,
        model: BaseChannel,
        preset_model: BaseChannel,
        baseline_model: BaseChannel,
        evaluation: dict[str, Any],
        code_hash: str,
        general_predictions: BaseChannel | None = None,
        general_preset_predictions: BaseChannel | None = None,
        root: Any = None,
    ):
        """Makes the node.

        Args:
            predictions: The candidate's, on the split that `evaluation` names.
            preset_predictions: The untouched preset's, on the same examples.
            baseline_predictions: The latest blessed model's; empty where there is none.
            model: The candidate.
            preset_model: The untouched preset.
            baseline_model: The latest blessed model; may hold none.
            evaluation: The run's `evaluation` section.
            code_hash: Hash of the code that the node runs; an edit runs it again.
            general_predictions: The candidate's, on text that it is not tuned for.
            general_preset_predictions: The untouched preset's, on the same.
            root: What `${root}` stands for in `judge_cache`; text, or a parameter of the run.
        """
        super().__init__(
            spec=EvaluatorSpec(
                predictions=predictions,
                preset_predictions=preset_predictions,
                general_predictions=general_predictions,
                general_preset_predictions=general_preset_predictions,
                baseline_predictions=baseline_predictions,
                model=model,
                preset_model=preset_model,
                baseline_model=baseline_model,
                evaluation=json.dumps(evaluation, sort_keys=True),
                code_hash=code_hash,
                root=root,
                evaluation_result=channel_utils.as_channel([standard_artifacts.ModelEvaluation()]),
                blessing=channel_utils.as_channel([standard_artifacts.ModelBlessing()]),
            )
        )
