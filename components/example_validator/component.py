"""ExampleValidator that stops the run."""

from typing import Any

from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx.components.example_validator import executor
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import Channel, artifact_utils, component_spec, standard_artifacts, standard_component_specs
from tfx.types.channel import BaseChannel
from tfx.utils import io_utils, json_utils

from components.errors import UserError


class Executor(executor.Executor):
    """TFX's executor, with anomalies as an error: TFX itself only writes them down, and the run goes on."""

    def Do(self, input_dict: dict[str, list], output_dict: dict[str, list], exec_properties: dict[str, Any]) -> Any:  # noqa: N802
        """Validates each split's statistics against the schema.

        Raises:
            UserError: With the text of every anomaly.
        """
        result = super().Do(input_dict, output_dict, exec_properties)
        anomalies_artifact = artifact_utils.get_single_instance(output_dict["anomalies"])
        lines = []
        for split in artifact_utils.decode_split_names(anomalies_artifact.split_names):
            folder = artifact_utils.get_split_uri([anomalies_artifact], split)
            anomalies = anomalies_pb2.Anomalies.FromString(
                io_utils.read_bytes_file(io_utils.get_only_uri_in_dir(folder))
            )
            lines += [
                f"  {split}: {name}: {info.description or info.short_description}"
                for name, info in sorted(anomalies.anomaly_info.items())
            ]
            if anomalies.HasField("dataset_anomaly_info"):
                lines.append(f"  {split}: data set: {anomalies.dataset_anomaly_info.description}")
        if lines:
            raise UserError(
                "the examples must match the schema. Anomalies:\n"
                + "\n".join(lines)
                + "\nMend the data, or change the schema (data.schema_path; null infers it from the data)."
            )
        return result


class ExampleValidatorSpec(standard_component_specs.ExampleValidatorSpec):
    """TFX's, with a parameter that runs the node again when its code has changed."""

    PARAMETERS = {
        **standard_component_specs.ExampleValidatorSpec.PARAMETERS,
        "code_hash": component_spec.ExecutionParameter(type=str),
    }


class ExampleValidator(base_component.BaseComponent):
    """Checks the statistics against the schema; anomalies fail the node."""

    SPEC_CLASS = ExampleValidatorSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(self, statistics: BaseChannel, schema: BaseChannel, code_hash: str):
        """Makes the node.

        Args:
            statistics: Of every split.
            schema: What they must match.
            code_hash: Hash of the code that the node runs.
        """
        super().__init__(
            spec=ExampleValidatorSpec(
                statistics=statistics,
                schema=schema,
                exclude_splits=json_utils.dumps([]),
                code_hash=code_hash,
                anomalies=Channel(type=standard_artifacts.ExampleAnomalies),
            ),
        )
