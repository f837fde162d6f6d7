"""Executor of `PresetImporter`."""

import json
from typing import Any

from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils


class Executor(base_executor.BaseExecutor):
    """Reads the preset's configuration and tokenizer, and writes which preset it is."""

    def Do(self, input_dict: dict[str, list], output_dict: dict[str, list], exec_properties: dict[str, Any]) -> None:  # noqa: N802
        """Writes `preset_reference.json` with the model card, and sets `preset` and `preset_hash` on the artifact.

        Raises:
            UserError: If the preset cannot be read, or the lengths do not fit it.
        """
        # Keras is imported by the executor, not where the pipeline is only wired.
        from components.local_copies import local_preset
        from components.presets.handles import find_commit
        from components.text.model_tokenizer import load_tokenizer
        from components.trainer.model import read_max_positions
        from components.trainer.model_card import count_positions, make_card, write_reference
        from components.trainer.served_template import make_served_template

        self._log_startup(input_dict, output_dict, exec_properties)
        section, text, generation = (
            json.loads(exec_properties[key]) for key in ("model_section", "text", "generation")
        )
        artifact = artifact_utils.get_single_instance(output_dict["model"])
        preset = section["preset"]
        max_positions = read_max_positions(preset)
        if text["max_length"] is None:
            text["max_length"] = count_positions(max_positions)
        with local_preset(preset, with_weights=False) as source:
            tokenizer = load_tokenizer(source)
            template = make_served_template(tokenizer, text, source)
        card = make_card(tokenizer, max_positions, text, generation, preset, template)
        write_reference(artifact.uri, section, text, card)
        artifact.set_string_custom_property("preset", preset)
        artifact.set_string_custom_property("preset_hash", exec_properties["preset_hash"])
        if commit := find_commit(preset):
            artifact.set_string_custom_property("preset_revision", commit)
