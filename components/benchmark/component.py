"""Benchmark: a TFX component that measures one model on a published benchmark."""

import json
from typing import Any

from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import channel_utils, component_spec, standard_artifacts
from tfx.types.channel import BaseChannel

from components.benchmark.executor import Executor


class BenchmarkSpec(component_spec.ComponentSpec):
    """Inputs, outputs and parameters of `Benchmark`."""

    PARAMETERS = {
        "benchmark": component_spec.ExecutionParameter(type=str),
        "data_hash": component_spec.ExecutionParameter(type=str),
        "code_hash": component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {"model": component_spec.ChannelParameter(type=standard_artifacts.Model)}
    OUTPUTS = {
        "predictions": component_spec.ChannelParameter(type=standard_artifacts.InferenceResult),
        "evaluation": component_spec.ChannelParameter(type=standard_artifacts.ModelEvaluation),
    }


class Benchmark(base_beam_component.BaseBeamComponent):
    """Asks a model the tasks of a suite and measures its answers with the Evaluator's metrics."""

    SPEC_CLASS = BenchmarkSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(self, model: BaseChannel, benchmark: dict[str, Any], data_hash: str, code_hash: str):
        """Makes the node.

        Args:
            model: An exported model, or a preset by its reference.
            benchmark: `suite`, `data`, `shots`, `shots_from`, `limit`, `seed`, `batch_size`, `max_new_tokens`, `samples`
                and `resamples`.
            data_hash: Hash of the files and of a pushed model; changed ones run the node again.
            code_hash: Hash of the code that the node runs, for the same purpose.
        """
        super().__init__(
            spec=BenchmarkSpec(
                model=model,
                benchmark=json.dumps(benchmark, sort_keys=True),
                data_hash=data_hash,
                code_hash=code_hash,
                predictions=channel_utils.as_channel([standard_artifacts.InferenceResult()]),
                evaluation=channel_utils.as_channel([standard_artifacts.ModelEvaluation()]),
            )
        )
