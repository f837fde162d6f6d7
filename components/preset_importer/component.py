"""PresetImporter: a TFX component that names an untouched preset, the baseline of a pipeline's first evaluation."""

import json
from typing import Any

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import channel_utils, component_spec, standard_artifacts

from components.preset_importer.executor import Executor


class PresetImporterSpec(component_spec.ComponentSpec):
    """Outputs and parameters of `PresetImporter`."""

    PARAMETERS = {
        "model_section": component_spec.ExecutionParameter(type=str),
        "text": component_spec.ExecutionParameter(type=str),
        "generation": component_spec.ExecutionParameter(type=str),
        "preset_hash": component_spec.ExecutionParameter(type=str),
        "code_hash": component_spec.ExecutionParameter(type=str),
    }
    INPUTS: dict[str, component_spec.ChannelParameter] = {}
    OUTPUTS = {"model": component_spec.ChannelParameter(type=standard_artifacts.Model)}


class PresetImporter(base_component.BaseComponent):
    """Makes a model of a preset as it is, by name: who asks it loads the preset, which nobody exports.

    The preset may be a folder, one in a bucket, or a handle: each container that asks it loads it there.
    """

    SPEC_CLASS = PresetImporterSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self, model: dict[str, Any], text: dict[str, Any], generation: dict[str, Any], preset_hash: str, code_hash: str
    ):
        """Makes the node.

        Args:
            model: The run's `model` section.
            text: The run's `text` section; `max_length` may be None, for all positions of the model.
            generation: The run's `generation` section.
            preset_hash: Hash of the preset's content; a changed preset runs the node again, and all that asks it.
            code_hash: Hash of the code that the node runs, for the same purpose.
        """
        super().__init__(
            spec=PresetImporterSpec(
                model_section=json.dumps(model, sort_keys=True),
                text=json.dumps(text, sort_keys=True),
                generation=json.dumps(generation, sort_keys=True),
                preset_hash=preset_hash,
                code_hash=code_hash,
                model=channel_utils.as_channel([standard_artifacts.Model()]),
            )
        )
