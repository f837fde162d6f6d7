"""The Trainer's executor that trains as a custom job of Vertex AI, on machines of its own."""

from typing import Any

from tfx import types
from tfx.extensions.google_cloud_ai_platform.trainer import executor
from tfx.types import artifact_utils, standard_component_specs

from components.trainer.executor import Executor, set_record_properties


class VertexExecutor(executor.GenericExecutor):
    """Starts the job that `custom_config` describes (see `pipeline.vertex.trainer`), and waits for its end.

    The job runs `components.trainer.executor.Executor` with the same inputs, outputs and properties. What that sets on the
    Model artifact stays in the job; the record that it writes is where this one finds it.
    """

    def _GetExecutorClass(self) -> type[Executor]:  # noqa: N802 - TFX's name
        return Executor

    def Do(  # noqa: N802 - TFX's name
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Trains in the job, then sets the record's scalars as custom properties of the Model artifact.

        Raises:
            RuntimeError: the job failed or was cancelled; the message has Vertex AI's reason.
            FileNotFoundError: it succeeded without writing a model.
        """
        super().Do(input_dict, output_dict, exec_properties)
        set_record_properties(artifact_utils.get_single_instance(output_dict[standard_component_specs.MODEL_KEY]))
