"""What every container of a run on Kubeflow Pipelines is told, read from its arguments."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from components.errors import UserError
from configs.runner_schema import MetadataSection
from configs.schema import RunConfig
from pipeline.metadata_connection import ConnectionConfig, make_connection
from pipeline.validate import make_config


@dataclass(frozen=True, kw_only=True)
class ContainerRun:
    """The run that a container belongs to.

    Attributes:
        config: What runs, with the values that it was given at its start.
        config_path: Where the configuration was read from.
        beam_args: Beam's arguments.
        nodes: The nodes that it consists of.
        run_id: The same for all containers of the run.
        pipeline_root: What all places are below.
        connection: The metadata store.
    """

    config: RunConfig
    config_path: str
    beam_args: list[str]
    nodes: list[str]
    run_id: str
    pipeline_root: str
    connection: ConnectionConfig


def read_arguments(
    settings: str, run_id: str, pipeline_root: str, metadata: str, parameters: Iterable[tuple[str, str]]
) -> ContainerRun:
    """Reads the arguments that `compile` writes.

    Args:
        settings: JSON: `config` (the run), `config_path`, `beam_args`, `nodes`.
        run_id: The run's.
        pipeline_root: What all places are below.
        metadata: JSON of the runner's `metadata` section.
        parameters: Keys of the run with the values that they were given at its start.

    Raises:
        ConfigError: If the values make no valid run.
        UserError: If an argument is not what it should be.
    """
    given = _parse_json("--settings", settings)
    overrides = [f"{key}={json.dumps(value) if key == 'data.path' else value}" for key, value in parameters]
    return ContainerRun(
        config=make_config(given["config"], given["config_path"], overrides),
        config_path=given["config_path"],
        beam_args=given["beam_args"],
        nodes=given["nodes"],
        run_id=run_id,
        pipeline_root=pipeline_root,
        connection=make_connection(_parse_metadata(metadata), pipeline_root),
    )


def _parse_json(option: str, text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise UserError(f"{option} must be JSON, as `compile` writes it: {error}.") from error
    if not isinstance(value, dict):
        raise UserError(f"{option} must be a JSON object. Received: {type(value).__name__}.")
    return value


def _parse_metadata(text: str) -> Any:
    try:
        return TypeAdapter(MetadataSection).validate_python(_parse_json("--metadata", text))
    except ValidationError as error:
        raise UserError(f"--metadata must be the `metadata` section of a runner: {error}") from error
