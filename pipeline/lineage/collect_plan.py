"""Lists the files that a collection would remove: those of artifacts that need not stay, and folders that hold none."""

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from ml_metadata.proto import metadata_store_pb2 as mlmd

from components.errors import UserError
from pipeline.execution.run_state import RUN_CONTEXT
from pipeline.lineage.collect_folders import Folder, list_checkpoints, list_leftovers, list_logs, measure
from pipeline.lineage.places import find_pipeline, normalize
from pipeline.lineage.retention import RECENT, SHARED, Retention, decide_retention


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """An artifact whose files may go.

    Attributes:
        artifact_id: Of the artifact.
        kind: Its type.
        place: Its URI.
        pipeline_name: In whose folder it is.
        run_id: The run that wrote it.
        num_bytes: Size of its files; 0 if they are gone already.
        age_seconds: Since it was published.
        reason: Why it may go.
        is_marked: Whether an earlier collection has begun to remove it.
    """

    artifact_id: int
    kind: str
    place: str
    pipeline_name: str
    run_id: str
    num_bytes: int
    age_seconds: float
    reason: str
    is_marked: bool


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a collection removes, and what stays.

    Attributes:
        keep: How many of each pipeline's newest runs stay.
        candidates: Artifacts, the oldest first.
        folders: Logs, checkpoints, and what executions have left.
        kept: Number of artifacts that stay, by the first of the reasons that hold.
        num_untouchable: Artifacts that nothing needs, but whose files are not in the root's own folders, or are shared.
    """

    keep: int
    candidates: tuple[Candidate, ...]
    folders: tuple[Folder, ...]
    kept: dict[str, int]
    num_untouchable: int

    @property
    def num_bytes(self) -> int:
        """What is freed."""
        return sum(c.num_bytes for c in self.candidates) + sum(f.num_bytes for f in self.folders)

    def to_json(self) -> dict[str, Any]:
        """Returns all of it."""
        return {
            "keep": self.keep,
            "num_bytes": self.num_bytes,
            "kept": self.kept,
            "num_untouchable": self.num_untouchable,
            "artifacts": [vars(candidate) for candidate in self.candidates],
            "folders": [vars(folder) for folder in self.folders],
        }


def make_plan(store: Any, root: str, keep: int, pipeline_name: str | None = None, with_leftovers: bool = False) -> Plan:
    """Decides what may go; changes nothing.

    Args:
        store: An open store.
        root: Of the runner; nothing outside of its folders may go.
        keep: How many of each pipeline's newest runs stay as a whole; at least 1.
        pipeline_name: Only this pipeline's may go.
        with_leftovers: Whether what executions have left without publishing it may go too.

    Raises:
        UserError: There is no such pipeline, or `keep` is below 1.
    """
    if keep < 1:
        raise UserError(f"--keep must be at least 1: the next run goes on from the newest. Received: {keep}.")
    retention = decide_retention(store, keep, pipeline_name)
    names = sorted({run.pipeline_name for run in retention.runs})
    if pipeline_name is not None and pipeline_name not in names:
        raise UserError(
            f"no run of a pipeline {pipeline_name!r} is in the store. Pipelines: {', '.join(names) or 'none'}."
        )
    candidates, num_untouchable = _list_candidates(store, root, retention, pipeline_name)
    chosen = [name for name in names if pipeline_name in (None, name)]
    folders = [*list_logs(root, retention, chosen), *list_checkpoints(root, retention, chosen)]
    if with_leftovers:
        folders += list_leftovers(store, root, pipeline_name)
    return Plan(
        keep=keep,
        candidates=tuple(candidates),
        folders=tuple(folders),
        kept=dict(Counter(retention.kept.values())),
        num_untouchable=num_untouchable,
    )


def _list_candidates(
    store: Any, root: str, retention: Retention, pipeline_name: str | None
) -> tuple[list[Candidate], int]:
    graph = retention.graph
    loose = {artifact.id: artifact for artifact in graph.artifacts.values() if _may_go(artifact, retention)}
    # Also of artifacts that are in no run: somebody has put them there.
    needed = _Places(a for a in store.get_artifacts() if a.id not in loose and a.state != mlmd.Artifact.DELETED)
    found: dict[str, list[Candidate]] = {}
    num_untouchable = 0
    for artifact in sorted(loose.values(), key=lambda artifact: (artifact.create_time_since_epoch, artifact.id)):
        owner = find_pipeline(artifact.uri, root)
        if owner is None or needed.overlap(artifact.uri):
            num_untouchable += 1
        elif pipeline_name in (None, owner):
            place = normalize(artifact.uri)
            # Two artifacts may have one folder, which is freed once.
            size = 0 if place in found else measure(artifact.uri)[0]
            found.setdefault(place, []).append(_make_candidate(artifact, owner, retention, size))
    return [candidate for group in found.values() for candidate in group], num_untouchable


def _may_go(artifact: mlmd.Artifact, retention: Retention) -> bool:
    if not artifact.uri or artifact.state == mlmd.Artifact.DELETED:
        return False
    reason = retention.kept.get(artifact.id)
    # What is marked may be half removed: it is finished even if it would be among the newest with another number.
    return reason is None or (artifact.state == mlmd.Artifact.MARKED_FOR_DELETION and reason in (RECENT, SHARED))


def _make_candidate(artifact: mlmd.Artifact, owner: str, retention: Retention, num_bytes: int) -> Candidate:
    producer = retention.graph.find_producer(artifact.id)
    run_id = retention.graph.get_context(producer, RUN_CONTEXT).name if producer is not None else ""
    is_marked = artifact.state == mlmd.Artifact.MARKED_FOR_DELETION
    reason = "no pushed or blessed model needs it, and no run that stays"
    if is_marked:
        reason = "an earlier collection was interrupted here"
    return Candidate(
        artifact_id=artifact.id,
        kind=artifact.type,
        place=artifact.uri,
        pipeline_name=owner,
        run_id=run_id,
        num_bytes=num_bytes,
        age_seconds=round(time.time() - artifact.create_time_since_epoch / 1000, 1),
        reason=reason,
        is_marked=is_marked,
    )


class _Places:
    """The places of artifacts that stay."""

    def __init__(self, artifacts: Iterable[mlmd.Artifact]):
        self._places = set()
        for artifact in artifacts:
            uris = (artifact.uri, artifact.custom_properties["pushed_destination"].string_value)
            self._places |= {normalize(uri) for uri in uris if uri}
        self._above = {str(folder) for place in self._places for folder in PurePosixPath(place).parents}

    def overlap(self, place: str) -> bool:
        """Returns whether one of them is the place, or lies in it, or around it."""
        path = PurePosixPath(normalize(place))
        return str(path) in self._above or any(str(p) in self._places for p in (path, *path.parents))
