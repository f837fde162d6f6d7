"""A compiled pipeline: what is handed to Kubeflow Pipelines or Vertex AI to run it there."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class CompiledSpec:
    """A pipeline that can be submitted.

    Attributes:
        pipeline_name: Its name.
        text: PipelineSpec (schema 2.1) as YAML; a second document may hold what is particular to Kubernetes (PlatformSpec).
        parameters: A value for every parameter of the pipeline, also for those with a default: not every service
            applies defaults.
    """

    pipeline_name: str
    text: str
    parameters: dict[str, str | int | float | bool]
