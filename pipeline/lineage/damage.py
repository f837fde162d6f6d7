"""What is damaged in a metadata store, looked for after a question has failed: a healthy store pays nothing for it."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import PurePath
from typing import Any

from ml_metadata import errors as mlmd_errors
from ml_metadata.metadata_store.metadata_store import MetadataStore

from pipeline.lineage.graph import get_properties
from pipeline.lineage.store import CLEANING_REPORT_TYPES

# What pages and views read without asking whether it is there, and as what.
_NEEDED_OF_CLEANING = {"round": int, "kept_share": float, "num_response_tokens": int, "strategy": str}
_NEEDED: dict[str, dict[str, type]] = dict.fromkeys(CLEANING_REPORT_TYPES, _NEEDED_OF_CLEANING)
# A node's outputs are in `<root>/<node>/<key>/<execution>`.
_LEVELS_BELOW_ROOT = 3
_READ_BY_NODE = ("Examples", "pipeline.TrainingReceipt")


def find_damage(store: MetadataStore) -> str | None:
    """Returns what is wrong with the records of a store, in words; None if they can be read.

    A disk, or somebody's script, can leave text that is not UTF-8, and links to records that are not there. ML Metadata hands such
    text out as bytes, or fails where it is read.
    """
    kinds: tuple[tuple[str, Callable[[], Iterable[Any]]], ...] = (
        ("type of artifact", store.get_artifact_types),
        ("type of execution", store.get_execution_types),
        ("type of context", store.get_context_types),
        ("artifact", store.get_artifacts),
        ("execution", store.get_executions),
        ("context", store.get_contexts),
    )
    for kind, read in kinds:
        try:
            records = list(read())
        except (mlmd_errors.UnavailableError, mlmd_errors.AbortedError, mlmd_errors.DeadlineExceededError):
            return None  # of the server or of the way there
        except (mlmd_errors.StatusError, ValueError) as error:
            return f"its records of kind {kind} cannot be read: {error}"
        for record in records:
            for name, value in _list_texts(record):
                if not isinstance(value, str):
                    return f"the {name} of {kind} {record.id} is not UTF-8 text: {bytes(value)[:40]!r}"
            if kind == "artifact" and (gap := _find_gap(record)):
                return f"artifact {record.id} {gap}"
    return None


def _find_gap(artifact: Any) -> str | None:
    needed = _NEEDED.get(artifact.type, {})
    recorded = get_properties(artifact) if needed else {}
    for name, held in needed.items():
        if name not in recorded:
            return f"({artifact.type}) has no property {name!r}"
        if not isinstance(recorded[name], held):
            return f"({artifact.type}) has a property {name!r} that is no {held.__name__}: {str(recorded[name])[:40]!r}"
    if artifact.type in _READ_BY_NODE and len(PurePath(artifact.uri).parts) < _LEVELS_BELOW_ROOT:
        return f"({artifact.type}) is in no folder of a node: {artifact.uri[:40]!r}"
    return None


def _list_texts(record: Any) -> Iterator[tuple[str, str | bytes]]:
    """Yields names and values; what is not text as bytes, whatever way ML Metadata's messages take to tell it."""
    for name in ("type", "name", "uri", "external_id"):
        try:
            yield name, getattr(record, name, "")
        except UnicodeDecodeError as error:
            yield name, error.object
    for field in ("properties", "custom_properties"):
        try:
            for key, value in getattr(record, field, {}).items():
                # A type knows of each property's kind, a number.
                yield f"property {key!r}", getattr(value, "string_value", "")
        except UnicodeDecodeError as error:
            yield "name or value of a property", error.object
