"""What a container of Kubeflow Pipelines does: one node of a run, from driver to publisher."""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from rich.console import Console

from components.errors import UserError
from configs.runner_schema import MetadataSection
from configs.schema import RunConfig
from pipeline.execution.child_process import (
    ChildDiedError,
    ChildError,
    ChildProcess,
    Interrupted,
    signals_as_exceptions,
)
from pipeline.execution.node_launcher import CompiledPipeline, compile_pipeline
from pipeline.execution.node_runner import NodeFailedError, run_node
from pipeline.execution.run_record import make_training_record, write_run_record
from pipeline.execution.run_state import RUN_CONTEXT
from pipeline.execution.store_lock import lock_store
from pipeline.execution.task_graph import RunningTasks
from pipeline.exit_codes import FAILED, INTERRUPTED
from pipeline.metadata_connection import ConnectionConfig, make_connection, open_writable_store
from pipeline.paths import Places, make_places
from pipeline.validate import make_config

# The container's own output is its log.
_LOG = Path("/dev/stderr")


def run_node_in_container(
    node_id: str,
    settings: str,
    run_id: str,
    pipeline_root: str,
    metadata: str,
    parameters: Iterable[tuple[str, str]],
) -> int:
    """Runs a node and returns the exit code.

    Args:
        node_id: The node.
        settings: JSON: `config` (the run), `config_path`, `beam_args`.
        run_id: The run's; the same for all of its containers.
        pipeline_root: What all places are below.
        metadata: JSON of the runner's `metadata` section.
        parameters: Keys of the run with the values that they were given at its start.

    Raises:
        UserError: If an argument is not what it should be, or the store cannot be reached.
    """
    given = _parse_json("--settings", settings)
    overrides = [f"{key}={json.dumps(value) if key == 'data.path' else value}" for key, value in parameters]
    config = make_config(given["config"], given["config_path"], overrides)
    connection = make_connection(_parse_metadata(metadata), pipeline_root)
    console = Console(highlight=False, width=120)
    tasks = RunningTasks()
    signals: list[str] = []
    try:
        with signals_as_exceptions() as signals:
            pipeline = _compile(config, given["beam_args"], run_id, pipeline_root, connection, tasks)
            _record(config, given["config_path"], run_id, connection, list(pipeline.upstream))
            if node_id not in pipeline.upstream:
                raise UserError(f"--node must be one of {', '.join(pipeline.upstream)}. Received: {node_id!r}.")
            state = run_node(
                pipeline,
                run_id,
                node_id,
                connection,
                _LOG,
                on_start=lambda child: tasks.add(node_id, child.stop),
                on_text=_show,
            )
    except (NodeFailedError, Interrupted, ChildError, ChildDiedError) as error:
        tasks.stop_all()
        cause = error.__cause__ or error
        console.print(f"{node_id} failed: {cause}", markup=False)
        return INTERRUPTED if signals else FAILED
    console.print(f"{node_id}: {'taken from the cache' if state.cached else 'done'}", markup=False)
    return 0


def _create(config: RunConfig, places: Places, beam_args: list[str]) -> Any:
    """Returns the TFX pipeline as every container of the run makes it; called in a process that has TFX."""
    from pipeline.pipeline import create_pipeline
    from pipeline.platforms import Platform, locate_in_image

    return create_pipeline(
        config, places=places, beam_pipeline_args=beam_args, platform=Platform(locate=locate_in_image)
    )


def _compile(
    config: RunConfig,
    beam_args: list[str],
    run_id: str,
    pipeline_root: str,
    connection: ConnectionConfig,
    tasks: RunningTasks,
) -> CompiledPipeline:
    arguments = (config, make_places(pipeline_root, config.pipeline.name), beam_args)
    child = ChildProcess(compile_pipeline, (_create, arguments, run_id, connection), _LOG)
    tasks.add("compile", child.stop)
    compiled = CompiledPipeline.from_json(child.wait())
    tasks.remove("compile")
    return compiled


def _record(config: RunConfig, config_path: str, run_id: str, connection: ConnectionConfig, nodes: list[str]) -> None:
    """The first container writes what is known of the run as a whole."""
    with lock_store(connection):
        store = open_writable_store(connection)
        context = store.get_context_by_type_and_name(RUN_CONTEXT, run_id)
        if context is not None and "config" not in context.custom_properties:
            record = make_training_record(config, config_path, runner="kubeflow")
            # Its containers are many processes on many machines.
            for name in ("process", "hardware"):
                record.pop(name)
            write_run_record(store, run_id, record, nodes)


def _show(data: bytes) -> None:
    """Passes on the lines that stay; nobody overwrites the others here."""
    for line in data.split(b"\n"):
        if text := line.rpartition(b"\r")[2].strip():
            print(text.decode("utf-8", "replace"), file=sys.stdout, flush=True)


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
