"""Which part of the metadata store is drawn: runs, or what a model or another artifact was made from."""

from collections.abc import Iterable, Sequence

from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

from components.errors import UserError
from pipeline.lineage import store as lineage_store
from pipeline.lineage.drawing.build import make_drawing
from pipeline.lineage.drawing.model import Drawing, key_artifact
from pipeline.lineage.drawing.text import make_line
from pipeline.lineage.find import find_subject, list_run_contexts
from pipeline.lineage.graph import Graph
from pipeline.lineage.trace import find_trained_model

# A hash of code or data may fit thousands of runs.
MAX_RUNS = 200
_BASELINE = "baseline"


def load_drawing(
    store: MetadataStore, text: str | None = None, pipeline_name: str | None = None, last: int | None = None
) -> Drawing:
    """Returns what is to be drawn.

    Args:
        store: An open store.
        text: What is asked about, see `find_subject`. None: the model pushed last, or with `last` runs.
        pipeline_name: Without `text`, only models or runs of this pipeline.
        last: Draw so many of the newest runs.

    Raises:
        UserError: The store has none of it.
    """
    if last is not None:
        newest = _list_newest(store, last, pipeline_name)
        of_pipeline = f" of {pipeline_name}" if pipeline_name else ""
        return _draw_runs(store, newest, f"The newest {len(newest)} runs{of_pipeline}")
    if text is None:
        return _draw_model(store, lineage_store.get_latest_pushed(store, pipeline_name))
    subject = find_subject(store, text)
    if subject.runs:
        runs = sorted(subject.runs, key=lambda run: run.id)[-MAX_RUNS:]
        number = f"{len(runs)}" if len(runs) == len(subject.runs) else f"The newest {len(runs)} of {len(subject.runs)}"
        return _draw_runs(store, runs, f"{number} runs by {subject.reason}")
    artifact = subject.artifacts[0]
    if artifact.type in lineage_store.MODEL_TYPES:
        return _draw_model(store, artifact)
    graph = Graph(lineage_store.fetch_upstream(store, artifact.id))
    producer = graph.find_producer(artifact.id)
    return make_drawing(
        graph,
        graph.walk_back(producer) if producer else (),
        title=f"{artifact.type}: {make_line(artifact.uri) or artifact.id}",
        name=f"artifact-{artifact.id}",
        subject=key_artifact(artifact.id),
        more_artifacts=[artifact.id],
    )


def _list_newest(store: MetadataStore, last: int, pipeline_name: str | None) -> list[mlmd.Context]:
    if pipeline_name is None:
        query = ""
    elif lineage_store.is_quotable(pipeline_name):
        query = f'custom_properties.pipeline_name.string_value = "{pipeline_name}"'
    else:
        raise UserError(f"The metadata store has no run of the pipeline {pipeline_name!r}; `lineage runs` lists all.")
    if runs := list_run_contexts(store, last, query):
        return runs
    if query:
        names = (run.custom_properties["pipeline_name"].string_value for run in list_run_contexts(store, 100))
        known = ", ".join(sorted(set(names) - {""})) or "none"
        raise UserError(
            f"The metadata store has no run of the pipeline {pipeline_name!r}. Pipelines of its newest runs: {known}."
        )
    raise UserError("The metadata store holds no run yet: `make run` makes one.")


def _draw_runs(store: MetadataStore, contexts: Sequence[mlmd.Context], title: str) -> Drawing:
    graph = Graph(*lineage_store.fetch_runs(store, [context.id for context in contexts]))
    one = contexts[0] if len(contexts) == 1 else None
    return make_drawing(
        graph,
        graph.executions,
        title=f"Run {one.name}" if one else title,
        name=one.name if one else f"last-{len(contexts)}",
        lanes=one is None,
    )


def _draw_model(store: MetadataStore, start: mlmd.Artifact) -> Drawing:
    """Returns a model with all that it was made from, its evaluation with what that read, and its push.

    The history behind the baseline that it was compared with stays out: nothing of the model was made from it.
    """
    model_id = find_trained_model(store, start) if start.type == "PushedModel" else start.id
    parts = [lineage_store.fetch_upstream(store, model_id), lineage_store.fetch_verdict(store, model_id)]
    graph = Graph(*parts)
    pushed_id = start.id if start.type == "PushedModel" else graph.find_pushed()
    pusher = graph.find_producer(pushed_id) if pushed_id else None
    evaluator = graph.find_evaluator(model_id, pusher)
    judges = [execution_id for execution_id in (evaluator, pusher) if execution_id]
    events = store.get_events_by_execution_ids(judges) if judges else []
    written = {event.artifact_id for event in events if event.type == mlmd.Event.OUTPUT}
    own, others = _split_inputs(event for event in events if event.artifact_id not in written)
    # The verdict was fetched up to what the judges wrote: that one of them reads what the other wrote lies beyond.
    parts.append(mlmd.LineageGraph(artifacts=store.get_artifacts_by_id([*written, *others]), events=events))
    parts += [lineage_store.fetch_upstream(store, *own)] if own else []
    graph = Graph(*parts)
    makers = {graph.find_producer(artifact_id) for artifact_id in (model_id, *own)}
    executions = {e for maker in makers if maker for e in graph.walk_back(maker)}
    place = start.custom_properties["pushed_destination"].string_value or start.uri
    return make_drawing(
        graph,
        executions | set(judges),
        title=f"Model {make_line(place)}",
        name=f"model-{start.id}",
        subject=key_artifact(start.id),
        more_artifacts=[start.id],
    )


def _split_inputs(events: Iterable[mlmd.Event]) -> tuple[list[int], list[int]]:
    """Returns what was read: the artifacts about the model itself, and those that are only of its baseline."""
    is_own: dict[int, bool] = {}
    for event in (event for event in events if event.type == mlmd.Event.INPUT):
        names = [step.key for step in event.path.steps if step.HasField("key")]
        # A model without an earlier one is its own baseline, and read under both names.
        is_own[event.artifact_id] = not names or not all(name.startswith(_BASELINE) for name in names)
    return [i for i, own in is_own.items() if own], [i for i, own in is_own.items() if not own]
