"""The two things that a comparison is of: which runs they are, and all that the store knows of each."""

import re
from dataclasses import dataclass, field

from ml_metadata.metadata_store.metadata_store import ListOptions, MetadataStore, OrderByField
from ml_metadata.proto import metadata_store_pb2 as mlmd

from components.errors import UserError
from pipeline.execution.run_state import RUN_CONTEXT
from pipeline.lineage.find import Subject, find_subject, list_run_contexts
from pipeline.lineage.graph import Graph, Properties, format_time, get_properties
from pipeline.lineage.reused import fill_reused
from pipeline.lineage.store import fetch_executions, fetch_runs, is_quotable

_RELATIVE = re.compile(r"(latest|pushed)(?:~(\d{1,4}))?")
_NUM_NAMED = 3  # of the runs that an error lists


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of the two.

    Attributes:
        text: The question's own words.
        run_id: The run; empty for a model that no known run has made.
        pipeline_name: Its pipeline.
        started_at: ISO 8601, UTC.
        run: What was recorded of the run.
        graph: The run's executions with what they read and wrote.
        executions: Ids of the run's executions by node, the newest of each.
        model: The candidate of the run, or the model itself; None if there is none yet.
    """

    text: str
    run_id: str = ""
    pipeline_name: str = ""
    started_at: str = ""
    run: Properties = field(default_factory=dict, repr=False)
    graph: Graph = field(default_factory=Graph, repr=False)
    executions: dict[str, int] = field(default_factory=dict)
    model: mlmd.Artifact | None = None

    def find_output(self, kind: str, having: str | None = None) -> Properties:
        """Returns the properties of the newest artifact of a type that the run made or took over, empty if there is none.

        Args:
            kind: The artifact's type.
            having: Only an artifact with this property.
        """
        for execution_id in sorted(self.executions.values(), reverse=True):
            for artifact_id in reversed(self.graph.list_outputs(execution_id)):
                recorded = get_properties(self.graph.artifacts[artifact_id])
                if self.graph.artifacts[artifact_id].type == kind and (having is None or having in recorded):
                    return recorded
        return {}


def find_sides(
    store: MetadataStore, before: str | None, after: str | None, pipeline_name: str | None = None
) -> tuple[Side, Side]:
    """Returns both sides of a comparison.

    Args:
        store: An open store.
        before: A run or a model; `latest`, `latest~1` (the run before it), `pushed`, `pushed~1`. None: the run before the newest.
        after: Likewise; None: the newest run of the same pipeline.
        pipeline_name: `latest` and `pushed` are of this pipeline.

    Raises:
        UserError: There is no such run or model, or the words fit several runs.
    """
    if before is None:
        newest = _find_relative(store, "latest", 0, pipeline_name)
        pipeline_name = newest.pipeline_name
        return _find_relative(store, "latest", 1, pipeline_name), newest
    left = _find_side(store, before, pipeline_name)
    if after is not None:
        return left, _find_side(store, after, pipeline_name)
    right = _find_relative(store, "latest", 0, pipeline_name or left.pipeline_name)
    if right.run_id == left.run_id:  # the newest one: what has changed with it
        return _find_relative(store, "latest", 1, right.pipeline_name), right
    return left, right


def _find_side(store: MetadataStore, text: str, pipeline_name: str | None) -> Side:
    if match := _RELATIVE.fullmatch(text):
        return _find_relative(store, match[1], int(match[2] or 0), pipeline_name)
    subject = find_subject(store, text)
    if len(subject.runs) > 1:
        named = ", ".join(run.name for run in subject.runs[:_NUM_NAMED])
        raise UserError(
            f"a comparison is of two runs. {text!r} fits {len(subject.runs):,} ({subject.reason}), the newest: {named}. Give one of them."
        )
    if subject.runs:
        return _make_side(store, text, subject.runs[0])
    return _find_artifact_side(store, text, subject)


def _find_artifact_side(store: MetadataStore, text: str, subject: Subject) -> Side:
    artifact = subject.artifacts[0]
    if len({a.uri for a in subject.artifacts}) > 1 and "place" not in subject.reason:
        raise UserError(
            f"a comparison is of two runs or models. {text!r} is {subject.reason} of {len(subject.artifacts):,} artifacts. Give a run, "
            "the number of a model, or its folder; `lineage impact` lists what was made from it."
        )
    writers = [e.execution_id for e in store.get_events_by_artifact_ids([artifact.id]) if e.type == mlmd.Event.OUTPUT]
    graph = Graph(*fetch_executions(store, [min(writers)] if writers else []))  # others took it from the cache
    run = next((graph.get_context(i, RUN_CONTEXT) for i in graph.executions), None)
    if run is None or not run.id:
        return Side(text=text, model=artifact if artifact.type == "Model" else None)
    return _make_side(store, text, run, model=artifact if artifact.type == "Model" else None)


def _find_relative(store: MetadataStore, kind: str, back: int, pipeline_name: str | None) -> Side:
    text = f"{kind}~{back}" if back else kind
    if pipeline_name is not None and not is_quotable(pipeline_name):
        raise UserError(f"--pipeline must be the name of a pipeline. Received: {pipeline_name!r}.")
    if kind == "pushed":
        return _find_pushed(store, text, back, pipeline_name)
    query = f'custom_properties.pipeline_name.string_value = "{pipeline_name}"' if pipeline_name else ""
    runs = [r for r in list_run_contexts(store, 2 * back + 20, query) if not _is_skipped(r)]
    if back == 0 or pipeline_name:
        chosen = runs
    else:  # of the pipeline of the newest run
        newest = str(get_properties(runs[0]).get("pipeline_name", "")) if runs else ""
        return _find_relative(store, kind, back, newest) if newest else _raise_too_few(text, len(runs), pipeline_name)
    if len(chosen) <= back:
        return _raise_too_few(text, len(chosen), pipeline_name)
    return _make_side(store, text, chosen[back])


def _raise_too_few(text: str, count: int, pipeline_name: str | None) -> Side:
    of = f" of the pipeline {pipeline_name!r}" if pipeline_name else ""
    raise UserError(
        f"a comparison needs two runs. The metadata store holds {count} run{'' if count == 1 else 's'}{of}, and no {text}. Give two "
        "that it holds, or another --pipeline; `lineage runs` lists them."
    )


def _find_pushed(store: MetadataStore, text: str, back: int, pipeline_name: str | None) -> Side:
    query = "type = 'PushedModel' AND custom_properties.pushed_destination.string_value != ''"
    if pipeline_name:
        query += f" AND contexts_p.type = 'pipeline' AND contexts_p.name = \"{pipeline_name}\""
    options = ListOptions(filter_query=query, limit=back + 1, order_by=OrderByField.ID, is_asc=False)
    found = list(store.get_artifacts(options))[: back + 1]
    if len(found) <= back:
        raise UserError(
            f"{text} must be a model that was pushed. The metadata store holds {len(found)}"
            + (f" of the pipeline {pipeline_name!r}" if pipeline_name else "")
            + ". Give a run instead; `lineage runs` lists them."
        )
    return _find_artifact_side(store, text, Subject(text=text, artifacts=(found[back],), reason="a place"))


def _is_skipped(run: mlmd.Context) -> bool:
    return bool(run.custom_properties["skipped"].string_value)


def _make_side(store: MetadataStore, text: str, run: mlmd.Context, model: mlmd.Artifact | None = None) -> Side:
    graph = Graph(*fetch_runs(store, [run.id]))
    fill_reused(store, graph)
    executions: dict[str, int] = {}
    for execution_id in sorted(graph.executions):  # a later attempt replaces an earlier one
        if graph.get_context(execution_id, RUN_CONTEXT).id == run.id:
            executions[graph.get_node_name(execution_id)] = execution_id
    recorded = get_properties(run)
    first = next(iter(executions.values()), None)
    pipeline = graph.get_context(first, "pipeline").name if first else str(recorded.get("pipeline_name", ""))
    return Side(
        text=text,
        run_id=run.name,
        pipeline_name=pipeline,
        started_at=str(recorded.get("started_at", "")) or format_time(run.create_time_since_epoch),
        run=recorded,
        graph=graph,
        executions=executions,
        model=model or _find_candidate(graph, executions),
    )


def _find_candidate(graph: Graph, executions: dict[str, int]) -> mlmd.Artifact | None:
    """Returns the last model that the run trained: those of earlier rounds come before it."""
    models = [graph.artifacts[i] for e in sorted(executions.values()) for i in graph.list_outputs(e)]
    trained = [a for a in models if a.type == "Model" and "method" in a.custom_properties]
    return trained[-1] if trained else None
