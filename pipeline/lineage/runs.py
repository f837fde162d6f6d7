"""Lists runs: what each was, how it ended, and what came of it. Reads a page of runs at a time."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import PurePath

from ml_metadata.metadata_store.metadata_store import ListOptions, MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

from pipeline.execution.run_record import NODES
from pipeline.execution.run_state import FAILURE, PROCESS, RUN_CONTEXT, is_process_gone
from pipeline.lineage import descent
from pipeline.lineage.find import list_run_contexts
from pipeline.lineage.graph import Graph, Properties, format_time, get_properties
from pipeline.lineage.recorded import read_json
from pipeline.lineage.store import fetch_run_contexts, fetch_written, is_quotable

Execution = mlmd.Execution
# How a run can stand.
COMPLETE, FAILED, RUNNING, DEAD, SKIPPED, PARTIAL = "complete", "failed", "running", "dead", "skipped", "partial"
STATES = (COMPLETE, FAILED, RUNNING, DEAD, SKIPPED, PARTIAL)
_FINISHED = (Execution.COMPLETE, Execution.CACHED)
_PAGE = 100


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """One run.

    Attributes:
        id: Of the run.
        pipeline_name: Its pipeline.
        state: `complete`: all of its nodes finished; `failed`: one did not; `running`: its process lives, or is on another machine;
            `dead`: its process was killed; `skipped`: its inputs were those of an earlier run; `partial`: nothing runs or failed, and
            not all nodes have run (on a cluster: it waits or was stopped).
        started_at: ISO 8601, UTC.
        seconds: From its start to the last change of its executions; None if it has none.
        runner: Kind of the runner.
        config_name: The configuration's file, without folder and ending.
        method: Of tuning.
        preset: That it started from.
        code_version: The commit.
        nodes: Nodes with the state of each (`complete`, `cached`, `failed`, `running`, ...), as far as they have started.
        metrics: Of the candidate on the whole split; empty if it was not evaluated.
        blessed: Whether the candidate was; None if it was not evaluated.
        verdict: Of the gate, in words.
        pushed: Where the model was pushed to; empty if it was not.
        reason: Why it was skipped or has failed.
    """

    id: str
    pipeline_name: str
    state: str
    started_at: str
    seconds: float | None
    runner: str = ""
    config_name: str = ""
    method: str = ""
    preset: str = ""
    code_version: str = ""
    nodes: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    blessed: bool | None = None
    verdict: str = ""
    pushed: str = ""
    reason: str = ""


Check = Callable[[mlmd.Context], bool]
Outcome = Callable[[RunSummary], bool]
Hint = tuple[str, Callable[[Properties], bool]]

# Artifacts that hold what came of a run.
EVALUATION, BLESSING, PUSHED = "ModelEvaluation", "ModelBlessing", "PushedModel"
# The names under which executions write them.
_OUTCOMES = frozenset({"evaluation", descent.BLESSING, descent.PUSHED_MODEL})
# More than so many runs are found faster by looking at the newest ones.
_MANY = 500


def list_runs(
    store: MetadataStore,
    limit: int | None,
    *,
    pipeline_name: str | None = None,
    since: datetime | None = None,
    checks: Iterable[Check] = (),
    outcomes: Iterable[Outcome] = (),
    hints: Iterable[Hint] = (),
) -> list[RunSummary]:
    """Returns runs, the newest first.

    Args:
        store: An open store.
        limit: How many at most; None: all.
        pipeline_name: Only of this pipeline.
        since: Only those that were recorded since then.
        checks: What the record of each must fulfil: asked first, because a record costs the least.
        outcomes: What each must fulfil that came of it.
        hints: What artifacts of such a run fulfil: type of artifact, and a condition on its properties. They change nothing but
            the time: where few artifacts fulfil one, only their runs are looked at.
    """
    checks, outcomes = list(checks), list(outcomes)
    found: list[RunSummary] = []
    for page in _page(store, limit, pipeline_name, since, hints):
        contexts = [context for context in page if all(fits(context) for fits in checks)]
        # Nothing more is asked of the store than what is shown, if nothing has to be known to choose.
        needed = contexts if outcomes or limit is None else contexts[: limit - len(found)]
        summaries = summarize(store, needed)
        found += [summary for summary in summaries if all(fits(summary) for fits in outcomes)]
        if limit is not None and len(found) >= limit:
            return found[:limit]
    return found


def _page(
    store: MetadataStore,
    limit: int | None,
    pipeline_name: str | None,
    since: datetime | None,
    hints: Iterable[Hint],
) -> Iterator[list[mlmd.Context]]:
    """Yields the contexts of runs, the newest first; behind the first page only of those that the hints point to."""
    conditions = []
    if pipeline_name is not None:
        if not is_quotable(pipeline_name):
            return
        conditions.append(f'custom_properties.pipeline_name.string_value = "{pipeline_name}"')
    if since is not None:
        conditions.append(f"create_time_since_epoch >= {int(since.timestamp() * 1000)}")
    # What is common is found among the newest runs.
    size = _PAGE if limit is None else min(_PAGE, 2 * limit)
    before: list[str] = []
    while True:
        page = list_run_contexts(store, limit=size, query=" AND ".join(conditions + before))
        if page:
            yield page
        if len(page) < size:
            return
        if not before and (rare := _find_rare(store, hints)) is not None:
            yield from _cut(rare, page[-1].id, pipeline_name, since)
            return
        before, size = [f"id < {page[-1].id}"], _PAGE


def _find_rare(store: MetadataStore, hints: Iterable[Hint]) -> list[mlmd.Context] | None:
    fewest: list[int] | None = None
    for kind, fits in hints:
        artifacts = store.get_artifacts(ListOptions(filter_query=f"type = '{kind}'"))
        ids = [artifact.id for artifact in artifacts if fits(get_properties(artifact))]
        if fewest is None or len(ids) < len(fewest):
            fewest = ids
    return None if fewest is None or len(fewest) > _MANY else fetch_run_contexts(store, fewest)


def _cut(
    contexts: list[mlmd.Context], before: int, pipeline_name: str | None, since: datetime | None
) -> Iterator[list[mlmd.Context]]:
    start = int(since.timestamp() * 1000) if since else 0
    fitting = [
        context
        for context in contexts
        if context.id < before
        and pipeline_name in (None, context.custom_properties["pipeline_name"].string_value)
        and context.create_time_since_epoch >= start
    ]
    return (fitting[i : i + _PAGE] for i in range(0, len(fitting), _PAGE))


def summarize(store: MetadataStore, contexts: Iterable[mlmd.Context]) -> list[RunSummary]:
    """Returns the summaries of runs, in the order of their contexts."""
    contexts = list(contexts)
    graph = Graph(*fetch_written(store, contexts, _OUTCOMES))
    executions: dict[int, list[int]] = {}
    for execution_id in graph.executions:
        executions.setdefault(graph.get_context(execution_id, RUN_CONTEXT).id, []).append(execution_id)
    return [_summarize(context, graph, sorted(executions.get(context.id, ()))) for context in contexts]


def _summarize(context: mlmd.Context, graph: Graph, execution_ids: list[int]) -> RunSummary:
    recorded = get_properties(context)
    executions = [graph.executions[i] for i in execution_ids]
    # The last execution of a node says how it stands: a run that goes on adds one.
    last = {graph.get_node_name(i): graph.executions[i] for i in execution_ids}
    nodes = {name: Execution.State.Name(execution.last_known_state).lower() for name, execution in last.items()}
    outcome: Properties = {}
    for execution_id in execution_ids:
        for artifact_id in graph.list_outputs(execution_id):
            artifact = graph.artifacts[artifact_id]
            if artifact.type in (EVALUATION, BLESSING, PUSHED):
                outcome |= get_properties(artifact)
    failures = [str(get_properties(e)[FAILURE]) for e in last.values() if FAILURE in e.custom_properties]
    started = min((e.create_time_since_epoch for e in executions), default=context.create_time_since_epoch)
    ended = max((e.last_update_time_since_epoch for e in executions), default=0)
    return RunSummary(
        id=context.name,
        pipeline_name=str(recorded.get("pipeline_name", "")),
        state=_find_state(recorded, last),
        started_at=str(recorded.get("started_at") or format_time(started)),
        seconds=round((ended - started) / 1000, 1) if executions else None,
        runner=str(recorded.get("runner", "")),
        config_name=PurePath(str(recorded.get("config_path", ""))).stem,
        method=str(recorded.get("method", "")),
        preset=str(recorded.get("preset", "")),
        code_version=str(recorded.get("code_version", "")),
        nodes=nodes,
        metrics=read_metrics(outcome),
        blessed=bool(outcome["blessed"]) if "blessed" in outcome else None,
        verdict=str(outcome.get("verdict", "")),
        pushed=str(outcome.get("pushed_destination", "")),
        reason=str(recorded.get("skip_reason") or "; ".join(failures)),
    )


def read_metrics(evaluation: Properties) -> dict[str, float]:
    """Returns the candidate's metrics on the whole split, from the properties of an evaluation."""
    candidate = read_json(evaluation.get("metrics"), dict).get("candidate")
    overall = candidate.get("overall") if isinstance(candidate, dict) else None
    return overall if isinstance(overall, dict) else {}


def _find_state(recorded: Properties, last: dict[str, mlmd.Execution]) -> str:
    if recorded.get("skipped") == "true":
        return SKIPPED
    states = {execution.last_known_state for execution in last.values()}
    process = str(recorded.get(PROCESS, ""))
    is_gone = bool(process) and is_process_gone(process)
    if Execution.RUNNING in states:
        return DEAD if is_gone else RUNNING
    if states - {*_FINISHED, Execution.NEW}:
        return FAILED
    expected = read_json(recorded.get(NODES), list)
    if not expected and recorded.get(NODES, "[]") != "[]":
        return PARTIAL  # damaged: what was to run is not known
    if expected and set(expected) - set(last):
        return DEAD if is_gone else RUNNING if process else PARTIAL
    if not states and process and NODES not in recorded:  # not even its nodes were known
        return DEAD if is_gone else RUNNING
    return COMPLETE if states else PARTIAL
