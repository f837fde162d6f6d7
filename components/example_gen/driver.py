"""What is decided before ExampleGen runs or is taken from the cache: which spans, which files, and their fingerprint."""

from typing import Any, NamedTuple

from tfx.components.example_gen import driver, utils
from tfx.dsl.io import fileio
from tfx.proto import example_gen_pb2
from tfx.types import standard_component_specs
from tfx.utils import io_utils, proto_utils

from components.example_gen.files import split_path
from components.example_gen.settings import read_custom_config
from components.example_gen.spans import find_spans, has_placeholders

_SEPARATOR = "\n"


class ResolvedInput(NamedTuple):
    """The data of one run.

    Attributes:
        paths: Files, folders or globs.
        span: Number of the newest span; 0 for a path without placeholders.
        fingerprint: Of number, sizes and modification times (in seconds) of the files.
    """

    paths: list[str]
    span: int
    fingerprint: str


def resolve_input(path: str, window: int) -> ResolvedInput:
    """Finds the data that a path means now.

    Args:
        path: `data.path`, with or without placeholders.
        window: How many spans.

    Raises:
        UserError: If there is no span.
    """
    if has_placeholders(path):
        spans = find_spans(path, window, fileio.glob)
        paths, number = [span.path for span in spans], spans[-1].number
    else:
        paths, number = [path], 0
    fingerprints = []
    for found in paths:
        base, pattern = split_path(found)
        fingerprints.append(io_utils.generate_fingerprint("all", f"{base.rstrip('/')}/{pattern}"))
    return ResolvedInput(paths, number, _SEPARATOR.join(fingerprints))


def resolve_exec_properties(exec_properties: dict[str, Any]) -> dict[str, Any]:
    """Returns the execution properties with what was resolved: `input_config` names the paths, a line each."""
    path = exec_properties[standard_component_specs.INPUT_BASE_KEY]
    resolved = resolve_input(path, read_custom_config(exec_properties)["data"].get("window", 1))
    input_config = example_gen_pb2.Input()
    proto_utils.json_to_proto(exec_properties[standard_component_specs.INPUT_CONFIG_KEY], input_config)
    input_config.splits[0].pattern = _SEPARATOR.join(resolved.paths)
    return exec_properties | {
        standard_component_specs.INPUT_CONFIG_KEY: proto_utils.proto_to_json(input_config),
        utils.SPAN_PROPERTY_NAME: resolved.span,
        utils.VERSION_PROPERTY_NAME: None,
        utils.FINGERPRINT_PROPERTY_NAME: resolved.fingerprint,
    }


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
