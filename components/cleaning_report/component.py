"""CleaningReport: a TFX component that says which tokens the cut kept."""

import json
from typing import Any

from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import channel_utils, component_spec, standard_artifacts
from tfx.types.artifact import Artifact
from tfx.types.channel import BaseChannel

from components.cleaning_report.executor import Executor


class TokenCleaningReport(Artifact):
    """What one cut kept: figures as custom properties (`FIGURES` of the executor), the rest in `report.json`."""

    # Vertex AI asks for a name space, and takes no properties of a type of our own but custom ones.
    TYPE_NAME = "pipeline.TokenCleaningReport"


class CleaningReportSpec(component_spec.ComponentSpec):
    """Inputs, outputs and parameters of `CleaningReport`."""

    PARAMETERS = {
        "settings": component_spec.ExecutionParameter(type=str),
        "code_hash": component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {
        "scored_examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "transform_graph": component_spec.ChannelParameter(type=standard_artifacts.TransformGraph),
    }
    OUTPUTS = {"report": component_spec.ChannelParameter(type=TokenCleaningReport)}


class CleaningReport(base_beam_component.BaseBeamComponent):
    """Counts what a transform graph keeps of scored examples."""

    SPEC_CLASS = CleaningReportSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(
        self, scored_examples: BaseChannel, transform_graph: BaseChannel, settings: dict[str, Any], code_hash: str
    ):
        """Makes the node.

        Args:
            scored_examples: Output of the TokenScorer.
            transform_graph: Output of the Transform that read them.
            settings: `strategy`, `keep`, `scope`, `round`, `preset` (whose tokenizer gives the texts), `slice_columns`, and
                `warmup`: `shares` and `seed` of the Partitioner where the reference was trained on a part of these
                examples, else None.
            code_hash: Hash of the code that the node runs; an edit runs it again.
        """
        super().__init__(
            spec=CleaningReportSpec(
                scored_examples=scored_examples,
                transform_graph=transform_graph,
                settings=json.dumps(settings, sort_keys=True),
                code_hash=code_hash,
                report=channel_utils.as_channel([TokenCleaningReport()]),
            )
        )
