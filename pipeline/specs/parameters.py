"""What a compiled pipeline is given at its start: the root of all places, and keys of the run."""

import json
from collections.abc import Mapping
from typing import Any

from configs.runner_schema import ClusterRunnerConfig
from configs.schema import RunConfig
from pipeline.paths import PIPELINE_ROOT

# The parameter on Kubeflow Pipelines that says whether a run goes on in which nothing has changed.
FORCE = "force"


def to_parameter_name(key: str) -> str:
    """Returns the name of the parameter of a key such as `train.learning_rate`; no service allows dots."""
    return key.replace(".", "_")


def get_value(config: RunConfig, key: str) -> Any:
    """Returns what a run has at a dotted key."""
    value: Any = config
    for part in key.split("."):
        value = getattr(value, part)
    return value


def make_key_parameters(config: RunConfig, runner: ClusterRunnerConfig, data_path: str) -> dict[str, str]:
    """Returns the values of the keys that are parameters, by parameter name: JSON as text, but for the path, which is itself.

    Args:
        config: The run.
        runner: Says which keys are parameters.
        data_path: `data.path` as the cluster has it.
    """
    return {
        to_parameter_name(key): data_path if key == "data.path" else json.dumps(get_value(config, key))
        for key in runner.parameters
    }


def replace_root(parameters: Mapping[str, Any], root: str) -> dict[str, Any]:
    """Returns the parameters of a compiled pipeline with all its places below another root."""
    old = str(parameters[PIPELINE_ROOT]).rstrip("/")
    return {
        name: value.replace(old, root.rstrip("/")) if isinstance(value, str) and name != "data_path" else value
        for name, value in parameters.items()
    }
