"""Compiles a pipeline and launches single nodes of it: driver, executor and publisher against the metadata store.

This is what every runner but Vertex AI's does with a node. TFX is imported inside of the functions, which run in processes of
their own (see `pipeline.execution.child_process`).
"""

import base64
import contextlib
import functools
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from components import storage
from components.console_line import ConsoleLine
from components.content import CONTENT_SHA256, find_difference, record_content
from components.errors import UserError
from components.options import nearest
from components.pusher.versions import is_in_service
from pipeline.execution.store_lock import lock_store
from pipeline.metadata_connection import ConnectionConfig


@dataclass(frozen=True, kw_only=True)
class CompiledPipeline:
    """A pipeline whose nodes can be launched.

    Attributes:
        name: Of the pipeline.
        ir: TFX's intermediate representation, serialized.
        upstream: The nodes to run, in order, and for each those of them that it waits for.
    """

    name: str
    ir: bytes
    upstream: dict[str, list[str]]

    def to_json(self) -> dict[str, Any]:
        """Returns a form that crosses from one process to another."""
        return {"name": self.name, "ir": base64.b64encode(self.ir).decode(), "upstream": self.upstream}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "CompiledPipeline":
        """Returns what `to_json` was called on."""
        return cls(name=value["name"], ir=base64.b64decode(value["ir"]), upstream=value["upstream"])


def compile_pipeline(
    create: Callable[..., Any],
    arguments: tuple[Any, ...],
    run_id: str,
    connection: ConnectionConfig,
    from_nodes: tuple[str, ...] = (),
    to_nodes: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Compiles for one run.

    Args:
        create: Makes the TFX pipeline.
        arguments: Of `create`.
        run_id: The run's.
        connection: The metadata store. The run is registered there; a part of a pipeline takes the outputs of all other nodes
            from the newest run that has them.
        from_nodes: Run these and what follows; all if empty.
        to_nodes: Run these and what they need; all if empty.

    Returns:
        `CompiledPipeline.to_json`.

    Raises:
        UserError: If there is no such node, or no earlier run has what the part needs.
    """
    from tfx.dsl.compiler import compiler, constants
    from tfx.orchestration.portable import partial_run_utils, runtime_parameter_utils
    from tfx.orchestration.portable.mlmd import context_lib

    compiled = compiler.Compiler().compile(create(*arguments))
    runtime_parameter_utils.substitute_runtime_parameter(compiled, {constants.PIPELINE_RUN_ID_PARAMETER_NAME: run_id})
    nodes = [node.pipeline_node for node in compiled.nodes]
    names = [node.node_info.id for node in nodes]
    for name in (*from_nodes, *to_nodes):
        if name not in names:
            raise UserError(f"unknown node {name!r}.{nearest(name, names)} Nodes: {', '.join(names)}.")
    if from_nodes or to_nodes:
        _mark_part(compiled, from_nodes or tuple(names), to_nodes or tuple(names), connection, partial_run_utils)
    kept = [node for node in nodes if not node.execution_options.HasField("skip")]
    ids = {node.node_info.id for node in kept}
    upstream = {node.node_info.id: [name for name in node.upstream_nodes if name in ids] for node in kept}
    with _connect(connection) as handle:
        context_lib.prepare_contexts(metadata_handle=handle, node_contexts=kept[0].contexts)
    name = compiled.pipeline_info.id
    return CompiledPipeline(name=name, ir=compiled.SerializeToString(), upstream=upstream).to_json()


def _mark_part(
    compiled: Any, from_nodes: tuple[str, ...], to_nodes: tuple[str, ...], connection: ConnectionConfig, utils: Any
) -> None:
    from tfx.proto.orchestration import pipeline_pb2

    settings = pipeline_pb2.SnapshotSettings()
    settings.latest_pipeline_run_strategy.SetInParent()
    try:
        utils.mark_pipeline(compiled, from_nodes=from_nodes, to_nodes=to_nodes, snapshot_settings=settings)
        if any(node.pipeline_node.execution_options.run.perform_snapshot for node in compiled.nodes):
            with _connect(connection) as handle:
                utils.snapshot(handle, compiled)
    except (LookupError, ValueError) as error:
        raise UserError(
            "a part of a pipeline takes the outputs of all other nodes from an earlier run, which must have them. "
            f"Run the whole pipeline once. Received: {error}"
        ) from error


def launch_node(pipeline: dict[str, Any], node_id: str, connection: ConnectionConfig) -> None:
    """Runs one node; where the store has its result already, or an equal one, nothing is executed.

    What the node has written is hashed before it is published (see `components.content`). An earlier result whose files have
    changed since is not taken; what a killed attempt has left is removed before the next one.

    Args:
        pipeline: See `compile_pipeline`.
        node_id: The node.
        connection: The metadata store.

    Raises:
        Exception: What the node raised; it is FAILED in the store then.
    """
    from tfx.orchestration.local import runner_utils
    from tfx.proto.orchestration import pipeline_pb2

    compiled = pipeline_pb2.Pipeline.FromString(CompiledPipeline.from_json(pipeline).ir)
    (node,) = (n.pipeline_node for n in compiled.nodes if n.pipeline_node.node_info.id == node_id)
    deployment = runner_utils.extract_local_deployment_config(compiled)
    _get_launcher_class()(
        pipeline_node=node,
        mlmd_connection=_connect(connection),
        pipeline_info=compiled.pipeline_info,
        pipeline_runtime_spec=compiled.runtime_spec,
        executor_spec=runner_utils.extract_executor_spec(deployment, node_id),
        custom_driver_spec=runner_utils.extract_custom_driver_spec(deployment, node_id),
    ).launch()


def _get_launcher_class() -> Any:
    """Returns TFX's launcher of a node, which also sees to what the node writes and takes from the cache."""
    from tfx.orchestration.portable import launcher
    from tfx.types import artifact_utils

    class RecordingLauncher(launcher.Launcher):
        def _prepare_execution(self) -> Any:
            # TFX asks this function of each execution that the cache has, and takes the next one where it raises a RuntimeError.
            verify = artifact_utils.verify_artifacts
            artifact_utils.verify_artifacts = functools.partial(_verify_cached, verify)
            try:
                return super()._prepare_execution()
            finally:
                artifact_utils.verify_artifacts = verify

        # The only place between the end of every executor, TFX's own too, and the publication of its outputs.
        def _run_executor(self, execution_info: Any) -> Any:
            _check_inputs(self._pipeline_node.node_info.id, execution_info.input_dict)
            for artifacts in execution_info.output_dict.values():
                for artifact in artifacts:
                    if not artifact.is_external:  # those are not ours
                        _clear(artifact.uri)
            output = super()._run_executor(execution_info)
            for key, artifacts in execution_info.output_dict.items():
                # What an executor has set on its outputs comes back as a copy, which is published in their place.
                published = output.output_artifacts[key].artifacts if key in output.output_artifacts else ()
                for artifact in published or [artifact.mlmd_artifact for artifact in artifacts]:
                    _record(artifact)
            return output

    return RecordingLauncher


def _verify_cached(verify: Callable[[Any], None], outputs: dict[str, list[Any]]) -> None:
    """Checks that outputs of an earlier execution are whole, before they are taken in place of new ones.

    Args:
        verify: TFX's check that they are there.
        outputs: Artifacts by the name of the output.

    Raises:
        RuntimeError: They are not.
    """
    verify(outputs)
    told = [f"{uri} has changed since it was made ({difference})" for uri, difference in _find_changed(outputs)]
    told += _list_out_of_service(outputs)
    for problem in told[:1]:
        line = ConsoleLine()
        line.keep(f"Not taken from the cache: {problem}.")
        line.close()
        raise RuntimeError(problem)


def _list_out_of_service(outputs: dict[str, list[Any]]) -> list[str]:
    """Returns what was pushed and is not served now: somebody has removed it, or another model was pushed since."""
    pushed = [
        (
            artifact.get_string_custom_property("pushed_destination"),
            artifact.get_string_custom_property("pushed_version"),
        )
        for artifacts in outputs.values()
        for artifact in artifacts
        if artifact.type_name == "PushedModel" and artifact.get_int_custom_property("pushed") == 1
    ]
    try:
        return [
            f"{place} is not the version in service" for place, version in pushed if not is_in_service(place, version)
        ]
    except OSError as error:  # pushing will say it in its own words
        return [f"what is in service cannot be seen ({error})"]


def _check_inputs(node_id: str, inputs: dict[str, list[Any]]) -> None:
    """Checks that what a node reads is what was made, however it comes here: from this run, a resumed one, or an earlier one.

    Raises:
        UserError: It is not.
    """
    for uri, difference in _find_changed(inputs):
        raise UserError(
            f"{node_id} must read what was made. Received: {uri}, which has changed since ({difference}). Put it back from a copy, "
            "or run without --resume, --from and --to: what this run makes is made anew then. `python -m pipeline lineage verify` "
            "says what else has changed."
        )


def _find_changed(artifacts: dict[str, list[Any]]) -> Iterator[tuple[str, str]]:
    """Yields the addresses of artifacts whose files are not those that were published, with the first difference."""
    for artifact in (artifact for found in artifacts.values() for artifact in found):
        try:
            difference = find_difference(artifact.uri, artifact.get_string_custom_property(CONTENT_SHA256))
        except OSError as error:
            difference = f"it cannot be listed: {error}"
        if difference:
            yield artifact.uri, difference


def _clear(place: str) -> None:
    """Removes what an earlier attempt of this execution has left, which TFX hands on to the next one."""
    if storage.clear_folder(place):
        logging.warning("Removed what an earlier attempt had left in %s.", place)


def _record(artifact: Any) -> None:
    try:
        record_content(artifact)
    except OSError as error:
        # What took hours to make is not given up for a hash; `lineage verify` says that it has none.
        logging.warning("The content of %s is not recorded: it could not be read. Received: %s", artifact.uri, error)


def _connect(connection: ConnectionConfig) -> Any:
    """Returns TFX's handle of the store, which holds the store's lock while it is open."""
    from tfx.orchestration import metadata

    class LockedMetadata(metadata.Metadata):
        def __enter__(self) -> Any:
            with contextlib.ExitStack() as stack:
                stack.enter_context(lock_store(connection))
                handle = super().__enter__()
                self._lock = stack.pop_all()
            return handle

        def __exit__(self, *details: Any) -> None:
            try:
                super().__exit__(*details)
            finally:
                self._lock.close()

    return LockedMetadata(connection)
