"""A pipeline that is compiled for a cluster, with what its parameters are set to."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class CompiledSpec:
    """What a cluster's client submits.

    Attributes:
        pipeline_name: Of the run's `pipeline.name`.
        text: PipelineSpec as YAML, schema 2.1.
        parameters: A value for every parameter of the pipeline.
    """

    pipeline_name: str
    text: str
    parameters: dict[str, str | int | float]
