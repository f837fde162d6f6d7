"""Finds what a question is about: from the words on the command line to artifacts and runs of the store."""

import re
from dataclasses import dataclass

from ml_metadata.metadata_store.metadata_store import ListOptions, MetadataStore, OrderByField
from ml_metadata.proto import metadata_store_pb2 as mlmd

from components.errors import UserError
from pipeline.execution.run_state import RUN_CONTEXT
from pipeline.lineage.data_files import DATA_PATH, find_examples_from
from pipeline.lineage.data_paths import spell
from pipeline.lineage.store import find_by_path, is_quotable

_HASH = re.compile(r"[0-9a-f]{6,64}")
# Properties that hold hashes, of artifacts and of runs.
_ARTIFACT_HASHES = ("data_sha256", "base_hash", "tuned_hash", "preset_hash", "content_sha256", "adapter_sha256")
_RUN_HASHES = ("code_version", "code_sha256", "config_sha256", "lock_sha256")


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What a question is about: artifacts, or a run.

    Attributes:
        text: The question's own words.
        artifacts: What the words mean, the closest first; empty if they mean a run.
        runs: Contexts of the runs that they mean; empty if they mean artifacts.
        reason: Which property or place it was found by, in words.
    """

    text: str
    artifacts: tuple[mlmd.Artifact, ...] = ()
    runs: tuple[mlmd.Context, ...] = ()
    reason: str


def find_subject(store: MetadataStore, text: str) -> Subject:
    """Returns what the words mean: a run's id, an artifact's number, a path or URI, a data file, a hash or a preset.

    Args:
        store: An open store.
        text: `20261124-101500-000000`, `42` or `artifact:42`, `runs/serving/name/1`, `data/rows.jsonl`, `3f9a12...`,
            `gpt2_base_en`.

    Raises:
        UserError: The store knows nothing of it.
    """
    for find in (_find_run, _find_by_number, _find_place, _find_data, _find_preset, _find_hash, _find_among_data):
        if subject := find(store, text):
            return subject
    newest = list_run_contexts(store, limit=3)
    known = f"The newest runs: {', '.join(context.name for context in newest)}" if newest else "It holds no run yet"
    raise UserError(
        f"The metadata store knows no {text!r}. It must be the id of a run, the number of an artifact, the place of a model or of "
        f"anything that a run wrote, a data file, a preset, or six or more digits of a hash (of data, "
        f"weights, a commit). {known}; `lineage runs` lists them."
    )


def list_run_contexts(store: MetadataStore, limit: int, query: str = "") -> list[mlmd.Context]:
    """Returns the contexts of runs, the newest first.

    Args:
        store: An open store.
        limit: How many at most.
        query: A further condition of ML Metadata's filter language.
    """
    condition = f"type = '{RUN_CONTEXT}'" + (f" AND {query}" if query else "")
    options = ListOptions(filter_query=condition, limit=limit, order_by=OrderByField.ID, is_asc=False)
    return list(store.get_contexts(options))


def _find_run(store: MetadataStore, text: str) -> Subject | None:
    # Behind PostgreSQL, ML Metadata 1.17 fails on a name with a quote, which no run has.
    context = store.get_context_by_type_and_name(RUN_CONTEXT, text) if "'" not in text else None
    return Subject(text=text, runs=(context,), reason="the id of a run") if context else None


def _find_by_number(store: MetadataStore, text: str) -> Subject | None:
    number = text.removeprefix("artifact:")
    # A commit or a hash may consist of digits; an artifact's number is shorter.
    if not number.isascii() or not number.isdigit() or len(number) > 12:
        return None
    found = store.get_artifacts_by_id([int(number)])
    return Subject(text=text, artifacts=tuple(found), reason="the number of an artifact") if found else None


def _find_place(store: MetadataStore, text: str) -> Subject | None:
    found = find_by_path(store, text)
    return Subject(text=text, artifacts=(found[0],), reason="a place that a run wrote") if found else None


def _find_data(store: MetadataStore, text: str) -> Subject | None:
    return _find_by_property(store, text, (DATA_PATH,), "a data file")


def _find_among_data(store: MetadataStore, text: str) -> Subject | None:
    """One of several files, or the end of a path; last, because it looks at the data of all runs."""
    found, words = find_examples_from(store, text)
    return Subject(text=text, artifacts=tuple(found), reason=words) if found else None


def _find_preset(store: MetadataStore, text: str) -> Subject | None:
    return _find_by_property(store, text, ("preset", "reference"), "a preset or reference model")


def _find_by_property(store: MetadataStore, text: str, names: tuple[str, ...], reason: str) -> Subject | None:
    # Runs record the absolute path of what is a file.
    spellings = ", ".join(f'"{spelling}"' for spelling in sorted(spell(text)) if is_quotable(spelling))
    if not spellings:
        return None
    for name in names:
        options = ListOptions(
            filter_query=f"custom_properties.{name}.string_value IN ({spellings})",
            order_by=OrderByField.ID,
            is_asc=False,
        )
        if found := store.get_artifacts(options):
            return Subject(text=text, artifacts=tuple(found), reason=reason)
    return None


def _find_hash(store: MetadataStore, text: str) -> Subject | None:
    if not _HASH.fullmatch(text):
        return None
    for name in _ARTIFACT_HASHES:
        found = store.get_artifacts(ListOptions(filter_query=f"custom_properties.{name}.string_value LIKE '{text}%'"))
        if found:
            return Subject(text=text, artifacts=tuple(found), reason=f"the property {name}")
    for name in _RUN_HASHES:
        runs = list_run_contexts(store, limit=10_000, query=f"custom_properties.{name}.string_value LIKE '{text}%'")
        if runs:
            return Subject(text=text, runs=tuple(runs), reason=f"the property {name} of runs")
    return None
