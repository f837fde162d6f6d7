"""Removes what a plan lists, so that an interruption at any moment leaves a store that tells the truth."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ml_metadata.proto import metadata_store_pb2 as mlmd

from components import storage
from components.content import find_manifest
from pipeline.execution.store_lock import lock_store
from pipeline.lineage.collect_folders import LEFT_OVER
from pipeline.lineage.collect_plan import Candidate, Plan, make_plan
from pipeline.lineage.places import find_owner, find_pipeline, is_own_folder
from pipeline.lineage.retention import decide_retention
from pipeline.metadata_connection import ConnectionConfig, open_writable_store

COLLECTED_AT = "collected_at"
_CHUNK = 100
_MOVED = "not in the folder of its pipeline any more"


@dataclass(frozen=True, kw_only=True)
class Collection:
    """What was done.

    Attributes:
        plan: What was to be removed.
        failures: What could not be removed, and why; the next collection tries again.
    """

    plan: Plan
    failures: tuple[str, ...]


def collect(
    connection: ConnectionConfig,
    root: str,
    keep: int,
    pipeline_name: str | None = None,
    with_leftovers: bool = False,
    on_removed: Callable[[int], object] = lambda _: None,
    on_start: Callable[[int], object] = lambda _: None,
) -> Collection:
    """Removes files and marks their artifacts DELETED; the records stay.

    First all artifacts are marked as going to be deleted, which keeps TFX's cache from giving them to a run; then come the files;
    then the artifacts are DELETED. After an interruption the next collection goes on with those that are marked.

    Args:
        connection: The store.
        root: Of the runner.
        keep: See `make_plan`.
        pipeline_name: See `make_plan`.
        with_leftovers: See `make_plan`.
        on_removed: Is told the size of what was removed.
        on_start: Is told the size of what will be.

    Raises:
        UserError: See `make_plan`.
    """
    # Whoever looks into the cache holds the lock too: nothing of the plan can be taken from it until all is marked.
    with lock_store(connection):
        store = open_writable_store(connection)
        plan = make_plan(store, root, keep, pipeline_name, with_leftovers)
        _set_state(store, plan.candidates, mlmd.Artifact.MARKED_FOR_DELETION)
        if not _is_locked(connection):
            plan = _give_back(store, plan, pipeline_name)
    on_start(plan.num_bytes)
    failures = []
    for chunk in _chunk(plan.candidates):
        removed = []
        for candidate in chunk:
            try:
                _remove(candidate, root)
            except OSError as error:
                failures.append(f"{candidate.place}: {error}")
            else:
                removed.append(candidate)
                on_removed(candidate.num_bytes)
        with lock_store(connection):
            _set_state(open_writable_store(connection), removed, mlmd.Artifact.DELETED)
    for folder in plan.folders:
        try:
            # Once more, right before, as above.
            is_left_over = folder.kind == LEFT_OVER and find_owner(folder.place, root) == folder.pipeline_name
            if not is_left_over and not is_own_folder(folder.place, root, folder.kind, folder.pipeline_name):
                raise OSError(_MOVED)
            storage.remove(folder.place)
        except OSError as error:
            failures.append(f"{folder.place}: {error}")
        else:
            on_removed(folder.num_bytes)
    return Collection(plan=plan, failures=tuple(failures))


def _give_back(store: Any, plan: Plan, pipeline_name: str | None) -> Plan:
    """A server has no lock: what a run took from the cache while we read the store is no longer ours."""
    kept = decide_retention(store, plan.keep, pipeline_name).kept
    taken = [c for c in plan.candidates if c.artifact_id in kept and not c.is_marked]
    _set_state(store, taken, mlmd.Artifact.LIVE)
    return dataclasses.replace(plan, candidates=tuple(c for c in plan.candidates if c not in taken))


def _remove(candidate: Candidate, root: str) -> None:
    # Once more, right before: a link may have been put there since.
    if find_pipeline(candidate.place, root) != candidate.pipeline_name:
        raise OSError(_MOVED)
    storage.remove(candidate.place)
    storage.remove(find_manifest(candidate.place))


def _set_state(store: Any, candidates: Sequence[Candidate], state: "mlmd.Artifact.State") -> None:
    for chunk in _chunk(candidates):
        artifacts = store.get_artifacts_by_id([candidate.artifact_id for candidate in chunk])
        for artifact in artifacts:
            artifact.state = state
            if state == mlmd.Artifact.DELETED:
                now = datetime.now(UTC).isoformat(timespec="seconds")
                artifact.custom_properties[COLLECTED_AT].string_value = now
        store.put_artifacts(artifacts)


def _is_locked(connection: ConnectionConfig) -> bool:
    return isinstance(connection, mlmd.ConnectionConfig) and connection.HasField("sqlite")


def _chunk(candidates: Sequence[Candidate]) -> Iterator[Iterable[Candidate]]:
    return (candidates[start : start + _CHUNK] for start in range(0, len(candidates), _CHUNK))
