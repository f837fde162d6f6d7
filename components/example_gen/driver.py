"""What is decided before ExampleGen runs or is taken from the cache: which spans, which files, and their content."""

import re
from typing import Any

from tfx.components.example_gen import driver, utils
from tfx.proto import example_gen_pb2
from tfx.types import standard_component_specs
from tfx.utils import proto_utils

from components.errors import UserError
from components.example_gen.files import make_fingerprint
from components.example_gen.settings import read_custom_config
from components.example_gen.source import hash_data, resolve_input

_SEPARATOR = "\n"


def resolve_exec_properties(exec_properties: dict[str, Any]) -> dict[str, Any]:
    """Returns the execution properties with what was resolved: `input_config` names the paths, a line each."""
    path = exec_properties[standard_component_specs.INPUT_BASE_KEY]
    section = read_custom_config(exec_properties)["data"]
    option = f"{section.get('section', 'data')}.path"
    try:
        resolved = resolve_input(path, section.get("window", 1), section["format"])
    except UserError as error:
        raise UserError(re.sub(r"^data\.path(?=:)", option, str(error))) from None
    input_config = example_gen_pb2.Input()
    proto_utils.json_to_proto(exec_properties[standard_component_specs.INPUT_CONFIG_KEY], input_config)
    sha256 = hash_data(path, resolved.files, option)
    input_config.splits[0].pattern = _SEPARATOR.join(resolved.paths)
    return exec_properties | {
        standard_component_specs.INPUT_CONFIG_KEY: proto_utils.proto_to_json(input_config),
        utils.SPAN_PROPERTY_NAME: resolved.span,
        utils.VERSION_PROPERTY_NAME: None,
        utils.FINGERPRINT_PROPERTY_NAME: make_fingerprint(sha256, [file.path for file in resolved.files]),
    }


def read_fingerprint(exec_properties: dict[str, Any]) -> str:
    """Returns the fingerprint of the data that `resolve_exec_properties` has found."""
    return str(exec_properties[utils.FINGERPRINT_PROPERTY_NAME])


def read_paths(exec_properties: dict[str, Any]) -> list[str]:
    """Returns the paths that `resolve_exec_properties` has found."""
    input_config = example_gen_pb2.Input()
    proto_utils.json_to_proto(exec_properties[standard_component_specs.INPUT_CONFIG_KEY], input_config)
    return input_config.splits[0].pattern.split(_SEPARATOR)


class Driver(driver.FileBasedDriver):
    """TFX's driver with spans of our own: it knows windows of several, and placeholders in any part of the path."""

    def resolve_exec_properties(
        self, exec_properties: dict[str, Any], *unused: Any, **unused_too: Any
    ) -> dict[str, Any]:
        """See the function of the same name."""
        return resolve_exec_properties(exec_properties)
