"""What a container of Kubeflow Pipelines does: one node of a run, from driver to publisher."""

from pathlib import Path
from typing import Any

from components.errors import UserError
from configs.schema import RunConfig
from pipeline.console import make_console
from pipeline.execution.child_process import (
    ChildDiedError,
    ChildError,
    ChildProcess,
    Interrupted,
    signals_as_exceptions,
)
from pipeline.execution.node_launcher import CompiledPipeline, compile_pipeline
from pipeline.execution.node_runner import NodeFailedError, run_node
from pipeline.execution.run_display import RunDisplay
from pipeline.execution.task_graph import RunningTasks
from pipeline.exit_codes import FAILED, INTERRUPTED
from pipeline.kubeflow.arguments import ContainerRun
from pipeline.paths import Places, make_places
from pipeline.repeats.growth import tell_growth

# The container's own output is its log.
_LOG = Path("/dev/stderr")


def run_node_in_container(run: ContainerRun, node_id: str) -> int:
    """Runs a node and returns the exit code.

    Args:
        run: The run.
        node_id: The node.

    Raises:
        UserError: If there is no such node, or the store cannot be reached.
    """
    console = make_console()
    tasks = RunningTasks()
    signals: list[str] = []
    try:
        with signals_as_exceptions() as signals:
            pipeline = _compile(run, tasks)
            if node_id not in pipeline.upstream:
                raise UserError(f"--node must be one of {', '.join(pipeline.upstream)}. Received: {node_id!r}.")
            state = run_node(
                pipeline,
                run.run_id,
                node_id,
                run.connection,
                _LOG,
                on_start=lambda child: tasks.add(node_id, child.stop),
                on_text=RunDisplay(console).start(node_id).write,  # a container's log is no terminal
            )
            growth = tell_growth(run.connection, pipeline.name, run.run_id, state)
    except (NodeFailedError, Interrupted, ChildError, ChildDiedError) as error:
        tasks.stop_all()
        cause = error.__cause__ or error
        console.print(f"{node_id} failed: {cause}", markup=False)
        return INTERRUPTED if signals else FAILED
    console.print(f"{node_id}: {'taken from the cache' if state.cached else growth or 'done'}", markup=False)
    return 0


def _create(config: RunConfig, places: Places, beam_args: list[str]) -> Any:
    """Returns the TFX pipeline as every container of the run makes it; called in a process that has TFX."""
    from pipeline.pipeline import create_pipeline
    from pipeline.platforms import Platform, locate_in_image

    return create_pipeline(
        config, places=places, beam_pipeline_args=beam_args, platform=Platform(locate=locate_in_image)
    )


def _compile(run: ContainerRun, tasks: RunningTasks) -> CompiledPipeline:
    arguments = (run.config, make_places(run.pipeline_root, run.config.pipeline.name), run.beam_args)
    child = ChildProcess(compile_pipeline, (_create, arguments, run.run_id, run.connection), _LOG)
    tasks.add("compile", child.stop)
    compiled = CompiledPipeline.from_json(child.wait())
    tasks.remove("compile")
    return compiled
