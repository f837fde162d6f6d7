"""What an export is of: the runs behind a subject, or the model that it means."""

from collections.abc import Iterable

from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

from components.errors import UserError
from pipeline.execution.run_state import RUN_CONTEXT
from pipeline.lineage.find import Subject, find_subject
from pipeline.lineage.graph import Graph, get_properties
from pipeline.lineage.store import fetch_runs, fetch_upstream, get_latest_pushed
from pipeline.lineage.trace import trace_artifact

_MODEL_TYPES = ("PushedModel", "Model")


def find_runs(store: MetadataStore, text: str | None, pipeline_name: str | None) -> list[mlmd.Context]:
    """Returns the contexts of the runs that a subject means: itself, or those that a model or an artifact came from.

    Args:
        store: An open store.
        text: See `pipeline.lineage.find.find_subject`; None means the model pushed last.
        pipeline_name: Without `text`: only models of this pipeline.

    Raises:
        UserError: The store knows nothing of it.
    """
    if text is None:
        return _list_runs_of_model(store, get_latest_pushed(store, pipeline_name))
    subject = find_subject(store, text)
    if subject.runs:
        return list(subject.runs)
    # The closest; the newest of those that are equally close.
    artifact = subject.artifacts[0]
    if artifact.type in _MODEL_TYPES:
        return _list_runs_of_model(store, artifact)
    graph = Graph(fetch_upstream(store, artifact.id))
    runs = {context.id: context for e in graph.executions if (context := graph.get_context(e, RUN_CONTEXT)).id}
    if not runs:
        raise UserError(
            f"The metadata store holds {artifact.uri}, but no run that made it: there is nothing to export."
        )
    return list(runs.values())


def find_model(store: MetadataStore, text: str | None, pipeline_name: str | None) -> mlmd.Artifact:
    """Returns the model that a subject means: itself, or the one that a run made.

    Args:
        store: An open store.
        text: See `pipeline.lineage.find.find_subject`; None means the model pushed last.
        pipeline_name: Without `text`: only models of this pipeline.

    Raises:
        UserError: The store knows nothing of it, or it is no model and no run that made one.
    """
    if text is None:
        return get_latest_pushed(store, pipeline_name)
    subject = find_subject(store, text)
    if subject.runs:
        return _find_model_of_runs(store, subject)
    if models := [artifact for artifact in subject.artifacts if artifact.type in _MODEL_TYPES]:
        # Of a preset there are its untouched exports, too.
        return next((model for model in models if model.type == "PushedModel" or _is_trained(model)), models[0])
    raise UserError(
        f"The argument must mean a model, or a run that made one. Received: {text}, by {subject.reason} an "
        f"artifact of type {subject.artifacts[0].type}. `lineage export {text} --format openlineage` tells of the runs behind it."
    )


def _list_runs_of_model(store: MetadataStore, model: mlmd.Artifact) -> list[mlmd.Context]:
    found = (store.get_context_by_type_and_name(RUN_CONTEXT, run.id) for run in trace_artifact(store, model).runs)
    return [context for context in found if context is not None]


def _find_model_of_runs(store: MetadataStore, subject: Subject) -> mlmd.Artifact:
    newest = max(subject.runs, key=lambda run: (run.create_time_since_epoch, run.id))
    graph = Graph(*fetch_runs(store, [newest.id]))
    own = [e for e in graph.executions if graph.get_context(e, RUN_CONTEXT).id == newest.id]
    made = [graph.artifacts[i] for e in own for i in graph.list_outputs(e)]
    pushed = (a for a in made if a.type == "PushedModel" and get_properties(a).get("pushed_destination"))
    trained = (a for a in made if a.type == "Model" and _is_trained(a))
    if model := _find_last(pushed) or _find_last(trained):
        return model
    states = {graph.get_node_name(e): graph.executions[e].last_known_state for e in sorted(own)}
    told = (
        ", ".join(f"{node} {mlmd.Execution.State.Name(state)}" for node, state in states.items()) or "none has started"
    )
    raise UserError(
        f"The argument must mean a model, and the run {newest.name} has made none. Its nodes: {told}. "
        f"`lineage export {newest.name} --format openlineage` tells of runs in any state."
    )


def _is_trained(model: mlmd.Artifact) -> bool:
    """The untouched preset is recorded as a model too; only trained ones have a method."""
    return bool(get_properties(model).get("method"))


def _find_last(artifacts: Iterable[mlmd.Artifact]) -> mlmd.Artifact | None:
    return max(artifacts, key=lambda artifact: artifact.id, default=None)
