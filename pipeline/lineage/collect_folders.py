"""Lists folders that hold no artifact and that a collection would remove: logs, checkpoints, and what killed runs have left."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from components import storage
from components.content import find_manifest
from pipeline.lineage.orphans import find_orphans
from pipeline.lineage.places import find_owner, is_own_folder
from pipeline.lineage.retention import MAYBE_GOING_SECONDS, Retention, Run

LOGS, CHECKPOINTS, LEFT_OVER = "logs", "checkpoints", "left over"


@dataclass(frozen=True, kw_only=True)
class Folder:
    """Files of no artifact that may go.

    Attributes:
        kind: `logs`, `checkpoints` or `left over`.
        place: Where they are.
        pipeline_name: In whose folder.
        num_bytes: Their size.
        age_seconds: Since the newest was written.
        reason: Why they may go.
    """

    kind: str
    place: str
    pipeline_name: str
    num_bytes: int
    age_seconds: float
    reason: str


def list_logs(root: str, retention: Retention, pipelines: list[str]) -> Iterator[Folder]:
    """Lists the logs of runs of which nothing stays."""
    for run in retention.runs:
        if run.pipeline_name not in pipelines or run.context.name in retention.kept_runs or _made_kept(run, retention):
            continue
        place = storage.join(root, f"logs/{run.pipeline_name}/{run.context.name}")
        if is_own_folder(place, root, LOGS, run.pipeline_name):
            yield from _list_folder(LOGS, place, run.pipeline_name, "nothing that the run has made stays")


def _made_kept(run: Run, retention: Retention) -> bool:
    outputs = (artifact for e in run.executions for artifact in retention.graph.outputs.get(e, ()))
    return any(
        artifact in retention.kept and retention.graph.find_producer(artifact) in run.executions for artifact in outputs
    )


def list_checkpoints(root: str, retention: Retention, pipelines: list[str]) -> Iterator[Folder]:
    """Lists checkpoints older than all runs that stay: a training names its folder by what it depends on, not by its run."""
    for name in pipelines:
        of_pipeline = [run for run in retention.runs if run.pipeline_name == name]
        if any(run.context.name in retention.going for run in of_pipeline):
            continue  # it may go on from an old one
        oldest = min(run.started_at for run in of_pipeline if run.context.name in retention.kept_runs)
        folder = storage.join(root, f"checkpoints/{name}")
        if not is_own_folder(f"{folder}/x", root, CHECKPOINTS, name):
            continue
        try:
            files = storage.list_files(folder, _leave)
        except FileNotFoundError:
            continue
        for training in sorted({file.name.partition("/")[0] for file in files if "/" in file.name}):
            changed_at = max(file.changed_at for file in files if file.name.startswith(f"{training}/"))
            place = storage.join(folder, training)
            if changed_at < oldest and is_own_folder(place, root, CHECKPOINTS, name):
                reason = "of a training that did not end, older than all runs that stay"
                yield from _list_folder(CHECKPOINTS, place, name, reason)


def list_leftovers(store: Any, root: str, pipeline_name: str | None) -> Iterator[Folder]:
    """Lists what executions have left below `artifacts/` without ever publishing it, and nothing has touched for a day.

    Another store may have the same root, and executions with the same numbers: what was published by any has a list of its files
    beside it, and stays.
    """
    for orphan in find_orphans(store, root, store.get_artifacts()):
        age = round(time.time() - orphan.changed_at, 1)
        owner = find_owner(orphan.place, root)
        if owner is None or pipeline_name not in (None, owner):
            continue
        if orphan.is_leftover and age > MAYBE_GOING_SECONDS and not _was_published(orphan.place):
            yield Folder(
                kind=LEFT_OVER,
                place=orphan.place,
                pipeline_name=owner,
                num_bytes=orphan.num_bytes,
                age_seconds=age,
                reason=orphan.reason,
            )


def _was_published(place: str) -> bool:
    return storage.exists(find_manifest(place))


def _list_folder(kind: str, place: str, pipeline_name: str, reason: str) -> Iterator[Folder]:
    num_bytes, changed_at = measure(place)
    if changed_at is not None:
        age = round(time.time() - changed_at, 1)
        yield Folder(
            kind=kind,
            place=place,
            pipeline_name=pipeline_name,
            num_bytes=num_bytes,
            age_seconds=age,
            reason=reason,
        )


def _leave(name: str, error: OSError) -> None:
    """What cannot be read has no size; whether it can be removed, its removal tells."""


def measure(place: str) -> tuple[int, float | None]:
    """Returns the size of a folder, and when its newest file was written; None if there is none."""
    try:
        files = storage.list_files(place, _leave)
    except FileNotFoundError:
        return 0, None
    return sum(file.size for file in files), max((file.changed_at for file in files), default=None)
