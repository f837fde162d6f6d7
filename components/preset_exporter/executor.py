"""Executor of `PresetExporter`."""

import json
from typing import Any

from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils
from tfx.utils import path_utils


class Executor(base_executor.BaseExecutor):
    """Loads the preset and exports it."""

    def Do(self, input_dict: dict[str, list], output_dict: dict[str, list], exec_properties: dict[str, Any]) -> None:  # noqa: N802
        """Writes the SavedModel where a Trainer would, and sets `preset` and `preset_hash` on the artifact.

        Raises:
            UserError: If the preset cannot be loaded, or the lengths do not fit it.
        """
        # Keras is imported by the executor, not where the pipeline is only wired.
        from components.trainer.decoding import count_positions
        from components.trainer.export import export_model
        from components.trainer.model import load_model

        self._log_startup(input_dict, output_dict, exec_properties)
        section = json.loads(exec_properties["model_section"])
        artifact = artifact_utils.get_single_instance(output_dict["model"])
        model = load_model(section["preset"], section["dtype"], seed=0)
        text = json.loads(exec_properties["text"])
        if text["max_length"] is None:
            text["max_length"] = count_positions(model)
        export_model(
            model,
            path_utils.serving_model_dir(artifact.uri),
            text,
            json.loads(exec_properties["generation"]),
            preset=section["preset"],
        )
        artifact.set_string_custom_property("preset", section["preset"])
        artifact.set_string_custom_property("preset_hash", exec_properties["preset_hash"])
