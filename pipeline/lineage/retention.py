"""Decides which artifacts must stay: what pushed, blessed and recent models need, and what runs still use."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ml_metadata.proto import metadata_store_pb2 as mlmd

from pipeline.execution.run_state import PROCESS, RUN_CONTEXT, is_process_alive, is_process_gone, list_going_runs
from pipeline.lineage.graph import Graph
from pipeline.lineage.store import fetch_runs

PUSHED, BLESSED, GOING, RECENT, SHARED = "pushed", "blessed", "going on", "recent", "of other pipelines"
# A run on a cluster has no process that could be asked for, and between two nodes nothing of it is RUNNING.
MAYBE_GOING_SECONDS = 24 * 3600


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run of a pipeline, as far as a collection cares.

    Attributes:
        context: Of the run.
        pipeline_name: Of its pipeline.
        executions: Its executions' ids.
    """

    context: mlmd.Context
    pipeline_name: str
    executions: tuple[int, ...] = field(repr=False)

    @property
    def started_at(self) -> float:
        """In seconds since 1970."""
        return self.context.create_time_since_epoch / 1000


@dataclass(frozen=True, kw_only=True)
class Retention:
    """What stays, and why.

    Attributes:
        graph: All runs of the store.
        runs: All runs with executions, the newest first.
        kept: Ids of artifacts that stay, with the first of the reasons that hold.
        kept_runs: Names of the runs that stay as a whole: the newest of their pipelines, and those that go on.
        going: Names of the runs that go on.
    """

    graph: Graph = field(repr=False)
    runs: tuple[Run, ...]
    kept: dict[int, str]
    kept_runs: frozenset[str]
    going: frozenset[str]


def decide_retention(store: Any, keep: int, pipeline_name: str | None = None) -> Retention:
    """Reads the whole store and decides.

    What stays: all that went into a model that was pushed or blessed, with what its evaluation rests on; all that the newest runs
    of each pipeline, and runs that go on, have read or written.

    Args:
        store: An open store.
        keep: How many of each pipeline's newest runs stay as a whole.
        pipeline_name: Only artifacts of this pipeline may go, and none that another one has read. None: those of all.
    """
    contexts = {context.id: context for context in store.get_contexts_by_type(RUN_CONTEXT)}
    graph = Graph(*fetch_runs(store, contexts))
    runs = _list_runs(graph, contexts)
    going = set(list_going_runs(store)) | {run.context.name for run in runs if _may_go_on(graph, run)}
    recent = _list_recent(runs, keep)
    writers: dict[int, list[int]] = {}
    for execution_id, outputs in graph.outputs.items():
        for artifact_id in outputs:
            writers.setdefault(artifact_id, []).append(execution_id)

    kept: dict[int, str] = {}

    def keep_all(artifact_ids: Iterable[int], reason: str) -> None:
        for artifact_id in artifact_ids:
            kept.setdefault(artifact_id, reason)

    artifacts = graph.artifacts.values()
    keep_all(_walk_up(graph, writers, (a.id for a in artifacts if _is_pushed(a))), PUSHED)
    keep_all(_walk_up(graph, writers, (a.id for a in artifacts if _is_blessed(a))), BLESSED)
    for run in runs:
        if run.context.name in going:
            keep_all(_list_touched(graph, run), GOING)
    for run in runs:
        if run.context.name in recent:
            keep_all(_list_touched(graph, run), RECENT)
        elif pipeline_name is not None and run.pipeline_name != pipeline_name:
            keep_all(_list_touched(graph, run), SHARED)
    return Retention(
        graph=graph,
        runs=tuple(runs),
        kept=kept,
        kept_runs=frozenset(going | recent),
        going=frozenset(going),
    )


def _list_runs(graph: Graph, contexts: dict[int, mlmd.Context]) -> list[Run]:
    """Lists the runs that have done something: one that `run` found not to be needed counts for none."""
    executions: dict[int, list[int]] = {}
    for execution_id in graph.executions:
        executions.setdefault(graph.get_context(execution_id, RUN_CONTEXT).id, []).append(execution_id)
    runs = [
        Run(
            context=contexts[context_id],
            pipeline_name=graph.get_context(ids[0], "pipeline").name,
            executions=tuple(ids),
        )
        for context_id, ids in executions.items()
        if context_id in contexts
    ]
    return sorted(runs, key=lambda run: (run.context.create_time_since_epoch, run.context.id), reverse=True)


def _list_recent(runs: Iterable[Run], keep: int) -> set[str]:
    recent: dict[str, list[str]] = {}
    for run in runs:
        names = recent.setdefault(run.pipeline_name, [])
        if len(names) < keep:
            names.append(run.context.name)
    return {name for names in recent.values() for name in names}


def _may_go_on(graph: Graph, run: Run) -> bool:
    process = run.context.custom_properties[PROCESS].string_value
    if is_process_gone(process) or is_process_alive(process):
        return False  # what is known is not guessed
    newest = max(graph.executions[e].last_update_time_since_epoch for e in run.executions) / 1000
    return time.time() - newest < MAYBE_GOING_SECONDS


def _is_pushed(artifact: mlmd.Artifact) -> bool:
    recorded = artifact.custom_properties
    return artifact.type == "PushedModel" and bool(
        recorded["pushed_destination"].string_value or recorded["pushed"].int_value
    )


def _is_blessed(artifact: mlmd.Artifact) -> bool:
    return artifact.type == "ModelBlessing" and artifact.custom_properties["blessed"].int_value == 1


def _list_touched(graph: Graph, run: Run) -> Iterator[int]:
    for execution_id in run.executions:
        yield from graph.inputs.get(execution_id, ())
        yield from graph.outputs.get(execution_id, ())


def _walk_up(graph: Graph, writers: dict[int, list[int]], artifact_ids: Iterable[int]) -> set[int]:
    """Returns artifacts, all that they were made from, and what was written together with each: a cache needs all of it."""
    found = set(artifact_ids)
    waiting, seen = list(found), set()
    while waiting:
        for execution_id in writers.get(waiting.pop(), ()):
            if execution_id not in seen:
                seen.add(execution_id)
                new = {*graph.inputs.get(execution_id, ()), *graph.outputs.get(execution_id, ())} - found
                found |= new
                waiting += new
    return found
