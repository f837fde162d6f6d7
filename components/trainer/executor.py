"""The Trainer's executor: as TFX's own, but that it puts the training record's numbers on the Model artifact."""

import json
import os
from typing import Any

from tfx import types
from tfx.components.trainer import executor
from tfx.components.util import udf_utils
from tfx.dsl.io import fileio
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import json_utils

from components.places import find_folder
from components.trainer.record import RECORD_NAME, get_scalars
from components.trainer.strategies import read_cluster

# Keys of `train` that a compiled pipeline may take as parameters; each is JSON, as text.
HYPERPARAMETERS = ("learning_rate", "epochs", "max_steps", "batch_size", "seed")
ROOT_PARAMETER = "root"


class Executor(executor.GenericExecutor):
    """Runs `run_fn`; what it recorded can then be asked of the metadata store without opening a file."""

    def Do(  # noqa: N802 - TFX's name
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Trains, then sets the record's scalars as custom properties of the Model artifact."""
        self._log_startup(input_dict, output_dict, exec_properties)
        # TFX's own `Do` does this and then insists on a SavedModel, which a reference model has no use for. The record is
        # written last: where it is, everything is.
        run_fn = udf_utils.get_fn(exec_properties, "run_fn")
        run_fn(self._GetFnArgs(input_dict, output_dict, merge_parameters(exec_properties)))
        model = artifact_utils.get_single_instance(output_dict[standard_component_specs.MODEL_KEY])
        if not fileio.exists(_get_record_path(model)) and not read_cluster().is_chief:
            return  # another worker writes the model
        set_record_properties(model)


def merge_parameters(exec_properties: dict[str, Any]) -> dict[str, Any]:
    """Returns the properties with what the run was given at its start in place of what `custom_config` has."""
    given = {name: json.loads(exec_properties[name]) for name in HYPERPARAMETERS if exec_properties.get(name)}
    config = json_utils.loads(exec_properties[standard_component_specs.CUSTOM_CONFIG_KEY])
    config["train"] |= given
    config["checkpoint_root"] = find_folder(config["checkpoint_root"], exec_properties.get(ROOT_PARAMETER))
    return exec_properties | {standard_component_specs.CUSTOM_CONFIG_KEY: json_utils.dumps(config)}


def set_record_properties(model: types.Artifact) -> None:
    """Sets the scalars of a finished training's record as custom properties of its Model artifact.

    Raises:
        FileNotFoundError: there is no record below the artifact's URI, on a local disk or in a bucket.
    """
    path = _get_record_path(model)
    if not fileio.exists(path):
        raise FileNotFoundError(f"a finished training leaves {path}, and it is not there")
    with fileio.open(path, "rb") as file:
        record = json.loads(file.read())
    for key, value in get_scalars(record).items():
        if isinstance(value, str):
            model.set_string_custom_property(key, value)
        elif isinstance(value, int):
            model.set_int_custom_property(key, value)
        else:
            model.set_float_custom_property(key, value)


def _get_record_path(model: types.Artifact) -> str:
    return os.path.join(model.uri, RECORD_NAME)
