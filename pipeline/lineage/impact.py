"""Answers what depends on something: every model that was made from it, what became of each, and what to run again."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace

from ml_metadata.metadata_store.metadata_store import ListOptions, MetadataStore, OrderByField
from ml_metadata.proto import metadata_store_pb2 as mlmd

from pipeline.execution.run_state import RUN_CONTEXT
from pipeline.lineage.cause import COMMIT, RUN, Cause, find_cause
from pipeline.lineage.descent import Descent, EventReader, find_descent
from pipeline.lineage.examples_index import Progress
from pipeline.lineage.graph import Graph, format_time, get_properties
from pipeline.lineage.newest_runs import find_newest_runs
from pipeline.lineage.outcomes import Outcome, Push, find_outcomes, find_production
from pipeline.lineage.rerun import HERE, Place, Rerun, Seeds, plan_rerun
from pipeline.lineage.store import chunk_ids, fetch_executions, fetch_written

# What an example, by its split, was to a model.
TRAINED, SELECTED, MEASURED = "trained on it", "chosen with it", "measured on it"
MADE = "made from it"
USES = {"train": TRAINED, "eval": SELECTED, "test": MEASURED}
# Of each pipeline; see `find_newest_runs`.
_NUM_NEWEST = 5


@dataclass(frozen=True, kw_only=True)
class AffectedModel:
    """A model that was made from the thing in question.

    Attributes:
        artifact_id: Its number in the store.
        uri: Its folder.
        created_at: ISO 8601, UTC.
        pipeline_name: Of the run that made it.
        run_id: The run that made it.
        node: That made it.
        method: Of tuning.
        use: `made from it`; of an example `trained on it`, `chosen with it` (it is in the split that decides when to stop) or
            `measured on it`.
        for_other_models: It served as the start or the reference of another training and was never judged itself.
        blessed: Whether it was; None if it was not evaluated.
        verdict: Why.
        pushes: Where it was pushed to, the newest first.
        in_production: It is the newest pushed model of its pipeline.
        also_in: Further runs, which took it from the cache.
    """

    artifact_id: int
    uri: str
    created_at: str
    pipeline_name: str = ""
    run_id: str = ""
    node: str = ""
    method: str
    use: str
    for_other_models: bool
    blessed: bool | None
    verdict: str
    pushes: tuple[Push, ...]
    in_production: bool
    also_in: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Counts:
    """How many models are affected."""

    models: int
    for_other_models: int
    blessed: int
    pushed: int
    by_use: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class Impact:
    """All that depends on something.

    Attributes:
        kind: See `Cause`.
        subject: The question's own words.
        reason: What they were found to be.
        details: What else is known of it, in sentences.
        counts: Over all models.
        production: Those of them that are in production.
        models: The newest first; of each, run and node are known. As many as were asked for.
        reruns: What to run again if it changes, by pipeline; empty for a commit.
        ran: Of a commit or a run: by pipeline the newest run, with the nodes that really ran in it.
    """

    kind: str
    subject: str
    reason: str
    details: tuple[str, ...]
    counts: Counts
    production: tuple[AffectedModel, ...]
    models: tuple[AffectedModel, ...]
    reruns: tuple[Rerun, ...]
    ran: tuple["RanNodes", ...] = ()


@dataclass(frozen=True, kw_only=True)
class RanNodes:
    """Which nodes really ran in a run, and which came from the cache."""

    pipeline_name: str
    run_id: str
    nodes: tuple[str, ...]
    cached_nodes: tuple[str, ...]


@dataclass(kw_only=True)
class _Affected:
    """The models that were found, before anything is said of them."""

    models: dict[int, mlmd.Artifact] = field(default_factory=dict)
    uses: dict[int, str] = field(default_factory=dict)
    descent: Descent = field(default_factory=Descent)


def find_impact(
    store: MetadataStore,
    text: str,
    *,
    limit: int | None = None,
    place: Place = HERE,
    show_progress: Callable[[], AbstractContextManager[Progress | None]] = nullcontext,
) -> Impact:
    """Finds everything that was made from something.

    Args:
        store: An open store.
        text: See `find_cause`.
        limit: Of how many models run and node are looked up; None for all.
        place: Where pipelines run; goes into the commands.
        show_progress: See `find_cause`.

    Raises:
        UserError: The store knows nothing of it.
    """
    cause = find_cause(store, text, show_progress)
    events = EventReader(store)
    affected = _find_affected(store, cause, events)
    outcomes = find_outcomes(store, affected.models, events)
    newest = sorted(affected.models, reverse=True)
    pipelines = _find_newest_by_pipeline(store, newest)
    production = find_production(store, pipelines.keys())
    shown = newest if limit is None else newest[:limit]
    in_production = [i for i in newest if i in production]
    described = {i: _describe(affected, i, outcomes[i], production) for i in {*shown, *in_production}}
    _locate(store, events, described)
    plans_needed = cause.kind not in (COMMIT, RUN)
    sources = [i for ids in pipelines.values() for i in ids] or list(cause.artifacts)
    runs = find_newest_runs(store, sources) if plans_needed else []
    return Impact(
        kind=cause.kind,
        subject=cause.text,
        reason=cause.reason,
        details=cause.details,
        counts=_count(outcomes, affected.uses),
        production=tuple(described[i] for i in in_production),
        models=tuple(described[i] for i in shown),
        reruns=tuple(_plan(cause, affected, graph, run, place) for graph, run in runs),
        ran=tuple(_list_ran(store, cause)),
    )


def _find_affected(store: MetadataStore, cause: Cause, events: EventReader) -> _Affected:
    affected = _Affected()
    if cause.example is None:
        groups = [(MADE, cause.artifacts)]
    else:
        # What trained on it counts even where other data have it in another split.
        by_use: dict[str, list[int]] = {use: [] for use in USES.values()}
        for holding in cause.example.holdings:
            by_use[USES.get(holding.split, MEASURED)] += holding.content.artifact_ids
        groups = [(use, tuple(ids)) for use, ids in by_use.items() if ids]
    for use, ids in groups:
        descent = find_descent(store, ids, cause.models, events)
        affected.descent.artifacts |= descent.artifacts
        affected.descent.executions |= descent.executions
        affected.descent.links |= descent.links
        known = {model.id: model for model in cause.models}
        missing = sorted(descent.models - known.keys() - affected.models.keys())
        known |= {a.id: a for chunk in chunk_ids(missing) for a in store.get_artifacts_by_id(chunk)}
        for model_id, model in known.items():
            if model.type == "Model" and "method" in model.custom_properties:  # others are the untouched preset
                affected.models.setdefault(model_id, model)
                affected.uses.setdefault(model_id, use)
    return affected


def _describe(affected: _Affected, model_id: int, outcome: Outcome, production: Collection[int]) -> AffectedModel:
    model = affected.models[model_id]
    return AffectedModel(
        artifact_id=model_id,
        uri=model.uri,
        created_at=format_time(model.create_time_since_epoch),
        method=model.custom_properties["method"].string_value,
        use=affected.uses[model_id],
        for_other_models=outcome.is_for_other_models,
        blessed=outcome.blessed,
        verdict=outcome.verdict,
        pushes=outcome.pushes,
        in_production=model_id in production,
    )


def _count(outcomes: dict[int, Outcome], uses: dict[int, str]) -> Counts:
    final = [model_id for model_id, outcome in outcomes.items() if not outcome.is_for_other_models]
    by_use = Counter(uses[model_id] for model_id in final)
    return Counts(
        models=len(final),
        for_other_models=len(outcomes) - len(final),
        blessed=sum(outcomes[i].blessed is True for i in final),
        pushed=sum(bool(outcomes[i].pushes) for i in final),
        by_use={use: by_use[use] for use in (*USES.values(), MADE) if by_use[use]},
    )


def _find_newest_by_pipeline(store: MetadataStore, model_ids: list[int]) -> dict[str, list[int]]:
    """Returns the newest of the models by pipeline, the pipeline with the newest one first."""
    found: dict[str, list[int]] = {}
    for context in store.get_contexts_by_type("pipeline") if model_ids else []:
        ids: list[int] = []
        for chunk in chunk_ids(model_ids):
            condition = f"type = 'Model' AND contexts_p.id = {context.id} AND id IN ({', '.join(map(str, chunk))})"
            options = ListOptions(filter_query=condition, limit=_NUM_NEWEST, order_by=OrderByField.ID, is_asc=False)
            ids = [artifact.id for artifact in store.get_artifacts(options)]
            if ids:
                break
        if ids:
            found[context.name] = ids
    return dict(sorted(found.items(), key=lambda item: -item[1][0]))


def _locate(store: MetadataStore, events: EventReader, described: dict[int, AffectedModel]) -> None:
    """Fills in the run, the node and the repetitions of models."""
    writers: dict[int, list[int]] = {}
    for event in events.read(sorted(described)):
        if event.type == mlmd.Event.OUTPUT:
            writers.setdefault(event.artifact_id, []).append(event.execution_id)
    graph = Graph(*fetch_executions(store, {i for ids in writers.values() for i in ids}))
    for model_id, ids in writers.items():
        # What really ran was registered before the cached executions that repeat it.
        first, *later = sorted(ids)
        run = graph.get_context(first, RUN_CONTEXT).name
        also = [graph.get_context(execution_id, RUN_CONTEXT).name for execution_id in later]
        described[model_id] = replace(
            described[model_id],
            pipeline_name=graph.get_context(first, "pipeline").name,
            run_id=run,
            node=graph.get_node_name(first),
            also_in=tuple(name for name in dict.fromkeys(also) if name != run),
        )


def _plan(cause: Cause, affected: _Affected, graph: Graph, run: mlmd.Context, place: Place) -> Rerun:
    of_run = (e for e in graph.executions if graph.get_context(e, RUN_CONTEXT).name == run.name)
    made_here = {i for execution_id in of_run for i in graph.outputs.get(execution_id, ())}
    linked = {e for e, outputs in graph.outputs.items() if outputs.keys() & affected.descent.links}
    seeds = Seeds(
        artifacts=cause.artifacts,
        executions=cause.executions | linked,
        names=cause.names,
        descended=affected.descent.artifacts - made_here,
        models=affected.models.keys(),
    )
    return plan_rerun(graph, run, seeds, place)


def _list_ran(store: MetadataStore, cause: Cause) -> Iterator[RanNodes]:
    newest = {
        str(get_properties(run).get("pipeline_name", "")): run for run in sorted(cause.runs, key=lambda run: run.id)
    }
    graph = Graph(*fetch_written(store, newest.values(), frozenset()))
    for name, run in sorted(newest.items(), key=lambda item: -item[1].id):
        ids = [i for i in sorted(graph.executions) if graph.get_context(i, RUN_CONTEXT).name == run.name]
        states = {graph.get_node_name(i): graph.executions[i].last_known_state for i in ids}
        cached = tuple(node for node, state in states.items() if state == mlmd.Execution.CACHED)
        ran = tuple(node for node in states if node not in cached)
        yield RanNodes(pipeline_name=name, run_id=run.name, nodes=ran, cached_nodes=cached)
