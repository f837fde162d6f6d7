"""The driver as Vertex AI runs it before ExampleGen: a command that reads and writes JSON.

It stands in for `tfx.orchestration.kubeflow.v2.file_based_example_gen.driver`, which knows neither windows of several spans nor
placeholders in the folder.
"""

import argparse
import os
from collections.abc import Sequence

from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2
from tfx.components.example_gen import driver, utils
from tfx.dsl.io import fileio
from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_entrypoint_utils
from tfx.types import artifact_utils, standard_component_specs

from components.example_gen.driver import resolve_exec_properties


def main(arguments: Sequence[str] | None = None) -> None:
    """Resolves the input, and writes it as the backend expects: parameters of the execution, metadata of the artifact."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--json_serialized_invocation_args", required=True)
    parser.add_argument("--json_serialized_inputs_spec_args", required=True)
    given, _ = parser.parse_known_args(arguments)  # options of Beam follow
    executor_input, inputs_spec = pipeline_spec_pb2.ExecutorInput(), pipeline_spec_pb2.ComponentInputsSpec()
    json_format.Parse(given.json_serialized_invocation_args, executor_input, ignore_unknown_fields=True)
    json_format.Parse(given.json_serialized_inputs_spec_args, inputs_spec, ignore_unknown_fields=True)
    properties = resolve_exec_properties(
        kubeflow_v2_entrypoint_utils.parse_execution_properties(
            executor_input.inputs.parameter_values, executor_input.inputs.parameters, inputs_spec
        )
    )
    names: dict[int, str] = {}
    outputs = kubeflow_v2_entrypoint_utils.parse_raw_artifact_dict(executor_input.outputs.artifacts, names)
    examples = artifact_utils.get_single_instance(outputs[standard_component_specs.EXAMPLES_KEY])
    driver.update_output_artifact(properties, examples.mlmd_artifact)

    result = pipeline_spec_pb2.ExecutorOutput()
    values = result.parameter_values
    values[utils.SPAN_PROPERTY_NAME].number_value = properties[utils.SPAN_PROPERTY_NAME]
    for name in (utils.FINGERPRINT_PROPERTY_NAME, standard_component_specs.INPUT_CONFIG_KEY):
        values[name].string_value = properties[name]
    result.artifacts[standard_component_specs.EXAMPLES_KEY].artifacts.add().CopyFrom(
        kubeflow_v2_entrypoint_utils.to_runtime_artifact(examples, names)
    )
    path = executor_input.outputs.output_file
    fileio.makedirs(os.path.dirname(path))
    with fileio.open(path, "w") as file:
        file.write(json_format.MessageToJson(result, sort_keys=True))


if __name__ == "__main__":
    main()
