"""Answers whether what the metadata store says of files is true: hashes them again, and finds those that it does not know."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

from components import storage
from pipeline.lineage.contents import Check, Expected, Progress, State, check_all, expect_artifact
from pipeline.lineage.find import Subject, find_subject
from pipeline.lineage.orphans import Orphan, find_orphans
from pipeline.lineage.source_data import expect_source_data, name_successors
from pipeline.lineage.store import MODEL_TYPES, fetch_runs, fetch_upstream
from pipeline.lineage.trace import trace_artifact

_REMOVED = (mlmd.Artifact.DELETED, mlmd.Artifact.MARKED_FOR_DELETION)
_WRONG = (State.CHANGED, State.MISSING, State.UNREADABLE)


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What a verification found.

    Attributes:
        checks: One of each recorded place.
        orphans: What nothing in the store names; only looked for if all of the store is verified.
        num_collected: Artifacts whose files a collection has removed; nothing is wrong with that.
    """

    checks: tuple[Check, ...]
    orphans: tuple[Orphan, ...]
    num_collected: int

    @property
    def wrong(self) -> list[Check]:
        """What is not as recorded."""
        return [check for check in self.checks if check.state in _WRONG]

    def is_as_recorded(self, strict: bool) -> bool:
        """Returns whether nothing is wrong; strictly, there are no orphans either, and all has a recorded hash."""
        unknown = any(check.state is State.UNVERIFIABLE for check in self.checks)
        return not self.wrong and not (strict and (self.orphans or unknown))

    def to_json(self) -> dict[str, Any]:
        """Returns all of it, with the numbers of each state."""
        counts = {state.value: sum(check.state is state for check in self.checks) for state in State}
        return {
            "counts": counts | {"orphaned": len(self.orphans), "collected": self.num_collected},
            "checks": [vars(check) for check in self.checks],
            "orphans": [vars(orphan) for orphan in self.orphans],
        }


def verify(
    store: MetadataStore,
    root: str,
    subject: str | None,
    progress: Progress,
    *,
    with_data: bool = True,
    with_artifacts: bool = True,
    on_bucket: Callable[[str], object] = lambda _: None,
) -> Verification:
    """Hashes files again and compares them with what was recorded.

    Args:
        store: An open store.
        root: Of the runner; orphans are looked for below it.
        subject: What is asked about (see `find_subject`): a model with all that its chain needs, a run with all that it read and
            wrote, another artifact with all that it was made from. None: all of the store.
        progress: Is told how far it is.
        with_data: Whether to look at source data files.
        with_artifacts: Whether to look at artifacts.
        on_bucket: Is told an address before the first one is read.

    Raises:
        UserError: The store does not know the subject.
    """
    everything = list(store.get_artifacts()) if subject is None else _select(store, find_subject(store, subject))
    live = [artifact for artifact in everything if artifact.state == mlmd.Artifact.LIVE]
    expected = expect_source_data(everything) if with_data else []
    if with_artifacts:
        expected += [e for artifact in live for e in expect_artifact(artifact)]
    if remote := next((path for e in expected for path in e.paths if storage.is_remote(path)), None):
        on_bucket(remote)
    checks = check_all(_unite(expected), progress)
    return Verification(
        checks=tuple(name_successors(checks)),
        orphans=tuple(find_orphans(store, root, everything)) if subject is None and with_artifacts else (),
        num_collected=sum(artifact.state in _REMOVED for artifact in everything),
    )


def _unite(expected: Iterable[Expected]) -> list[Expected]:
    """Returns each expectation once; a place without a hash only if no other artifact has one of it."""
    unique = {(e.kind, e.place, e.sha256): e for e in expected}
    hashed = {e.place for e in unique.values() if e.sha256}
    return [e for e in unique.values() if e.sha256 or e.place not in hashed]


def _select(store: MetadataStore, subject: Subject) -> list[mlmd.Artifact]:
    if subject.runs:
        parts = fetch_runs(store, (context.id for context in subject.runs))
        return _merge(artifact for part in parts for artifact in part.artifacts)
    found: list[mlmd.Artifact] = list(subject.artifacts)
    for artifact in subject.artifacts:
        if artifact.type in MODEL_TYPES:
            # Not all that is upstream of a push: behind the baseline that its evaluation has read lie all earlier runs.
            chain = trace_artifact(store, artifact)
            ids = sorted({output.id for step in chain.steps for output in step.outputs})
            found += store.get_artifacts_by_id(ids)
        else:
            found += fetch_upstream(store, artifact.id).artifacts
    return _merge(found)


def _merge(artifacts: Iterable[mlmd.Artifact]) -> list[mlmd.Artifact]:
    return list({artifact.id: artifact for artifact in artifacts}.values())
