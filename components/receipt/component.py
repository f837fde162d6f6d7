"""Receipt: a TFX component that says what the loss will see, and stops the run where a rule says so."""

import json
from typing import Any

from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import channel_utils, component_spec, standard_artifacts
from tfx.types.artifact import Artifact
from tfx.types.channel import BaseChannel

from components.receipt.executor import Executor


class TrainingReceipt(Artifact):
    """What the loss of one training sees: figures of its split as custom properties, the rest in `receipt.json`."""

    # Vertex AI asks for a name space, and takes no properties of a type of our own but custom ones.
    TYPE_NAME = "pipeline.TrainingReceipt"


class ReceiptSpec(component_spec.ComponentSpec):
    """Inputs, outputs and parameters of `Receipt`."""

    PARAMETERS = {
        "settings": component_spec.ExecutionParameter(type=str),
        "preset_hash": component_spec.ExecutionParameter(type=str),
        "code_hash": component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {"examples": component_spec.ChannelParameter(type=standard_artifacts.Examples)}
    OUTPUTS = {"receipt": component_spec.ChannelParameter(type=TrainingReceipt)}


class Receipt(base_beam_component.BaseBeamComponent):
    """Counts what the loss will see of transformed examples."""

    SPEC_CLASS = ReceiptSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(self, examples: BaseChannel, settings: dict[str, Any], preset_hash: str, code_hash: str):
        """Makes the node.

        Args:
            examples: The transformed examples that the Trainer reads.
            settings: `train_split`, `eval_split`, `preset` (whose tokenizer made the tokens), `text` (the run's section), `rules`
                (the run's section `receipt`), and `copy_folder`, where the receipt of a stopped run stays; "" where the outputs
                of a failed node stay anyway.
            preset_hash: Hash of the preset's tokenizer; a changed one runs the node again.
            code_hash: Hash of the code that the node runs, for the same purpose.
        """
        super().__init__(
            spec=ReceiptSpec(
                examples=examples,
                settings=json.dumps(settings, sort_keys=True),
                preset_hash=preset_hash,
                code_hash=code_hash,
                receipt=channel_utils.as_channel([TrainingReceipt()]),
            )
        )
