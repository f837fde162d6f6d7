"""Trainer: TFX's component, with hyper-parameters that a scheduled run may be given at its start."""

import json
from collections.abc import Mapping
from typing import Any

from tfx.dsl.components.base import base_component, executor_spec
from tfx.dsl.components.base.base_executor import BaseExecutor
from tfx.proto import trainer_pb2
from tfx.types import channel_utils, component_spec, standard_artifacts, standard_component_specs
from tfx.types.channel import BaseChannel
from tfx.utils import json_utils

from components.trainer.executor import HYPERPARAMETERS, ROOT_PARAMETER, Executor

_RUN_FN = "components.trainer.module.run_fn"


class TrainerSpec(standard_component_specs.TrainerSpec):
    """TFX's, and the keys of `train` that are parameters of the compiled pipeline: JSON, as text."""

    PARAMETERS = {
        **standard_component_specs.TrainerSpec.PARAMETERS,
        **{
            name: component_spec.ExecutionParameter(type=str, optional=True)
            for name in (*HYPERPARAMETERS, ROOT_PARAMETER)
        },
    }


class Trainer(base_component.BaseComponent):
    """Tunes the model of a run."""

    SPEC_CLASS = TrainerSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        examples: BaseChannel,
        transform_graph: BaseChannel,
        train_split: str,
        eval_split: str,
        custom_config: dict[str, Any],
        base_model: BaseChannel | None = None,
        hyperparameters: Mapping[str, Any] | None = None,
        root: Any = None,
        executor: type[BaseExecutor] = Executor,
    ):
        """Makes the node.

        Args:
            examples: Transformed examples.
            transform_graph: That wrote them.
            train_split: The split to train on.
            eval_split: The split that decides when to stop.
            custom_config: See `components.trainer.module.run_fn`.
            base_model: Training goes on from this model instead of from the preset.
            hyperparameters: Keys of `train` whose values the run is given at its start.
            root: What `${root}` stands for in `checkpoint_root`; text, or a parameter of the run.
            executor: Where it trains: in this process, or elsewhere.
        """
        spec = TrainerSpec(
            examples=examples,
            transform_graph=transform_graph,
            base_model=base_model,
            train_args=trainer_pb2.TrainArgs(splits=[train_split]),
            eval_args=trainer_pb2.EvalArgs(splits=[eval_split]),
            run_fn=_RUN_FN,
            custom_config=json_utils.dumps(custom_config),
            model=channel_utils.as_channel([standard_artifacts.Model()]),
            model_run=channel_utils.as_channel([standard_artifacts.ModelRun()]),
            root=root,
            **(hyperparameters or {}),
        )
        super().__init__(spec=spec, custom_executor_spec=executor_spec.ExecutorClassSpec(executor))


def to_parameter(value: Any) -> str:
    """Returns the text that the parameter of a hyper-parameter takes."""
    return json.dumps(value)
