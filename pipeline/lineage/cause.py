"""What a question about consequences is about: a data file, an example, a preset, a commit, a model, or any artifact."""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from ml_metadata.metadata_store.metadata_store import ListOptions, MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

from components.errors import UserError
from pipeline.lineage.data_files import find_examples_from
from pipeline.lineage.data_paths import spell
from pipeline.lineage.descent import find_preset_folder
from pipeline.lineage.examples_index import ID_LENGTH, Content, Progress, Search, list_contents, search
from pipeline.lineage.find import find_subject, list_run_contexts
from pipeline.lineage.graph import get_properties
from pipeline.lineage.store import chunk_ids, find_by_path, is_quotable, list_executions

DATA, EXAMPLE, PRESET, COMMIT, RUN, ARTIFACT = "data", "example", "preset", "commit", "run", "artifact"
EXAMPLE_PREFIX = "example:"

_HEX = re.compile(r"[0-9a-f]{6,64}")
_NUMBER = re.compile(r"(artifact:)?[0-9]{1,12}")
_MODEL_TYPES = ("Model", "PushedModel")
_MAX_RUNS = 10_000
_FEW = 100
# Where a preset's hash stands: on the untouched model, and among the parameters of nodes that load a preset.
_HASH_IN_TRAINER = 'custom_properties.custom_config.string_value LIKE \'%"preset_hash": "{}%\''
_HASH_ELSEWHERE = "custom_properties.preset_hash.string_value LIKE '%{}%'"


@dataclass(frozen=True, kw_only=True)
class Cause:
    """What may change, and what of the store it is.

    Attributes:
        kind: `data`, `example`, `preset`, `commit`, `run` or `artifact`.
        text: The question's own words.
        reason: What they were found to be, in words.
        artifacts: Ids of the artifacts that it is, or that were made directly from it.
        models: Models that were made from it by their own record.
        executions: Ids of the executions that it goes into; they run again if it changes.
        names: Under which the parameters of executions name it.
        runs: Of a commit.
        example: Of an example: where it is.
        details: What else is known of it, in sentences.
    """

    kind: str
    text: str
    reason: str
    artifacts: tuple[int, ...] = ()
    models: tuple[mlmd.Artifact, ...] = ()
    executions: frozenset[int] = frozenset()
    names: frozenset[str] = frozenset()
    runs: tuple[mlmd.Context, ...] = ()
    example: Search | None = None
    details: tuple[str, ...] = ()


def find_cause(
    store: MetadataStore, text: str, show_progress: Callable[[], AbstractContextManager[Progress | None]] = nullcontext
) -> Cause:
    """Returns what the words mean.

    Args:
        store: An open store.
        text: See `lineage impact`. `example:` before an id says that it is one.
        show_progress: Is called, and entered, if files must be searched for an example.

    Raises:
        UserError: The store knows nothing of it.
    """
    if not text.strip():
        raise UserError(
            "What `lineage impact` is asked about must be named: a data file, a model, a preset, a hash. Received: nothing."
        )
    if text.startswith(EXAMPLE_PREFIX):
        return _find_example(store, text.removeprefix(EXAMPLE_PREFIX), show_progress)
    if not _NUMBER.fullmatch(text):
        for find in (_find_model, _find_preset, _find_data, _find_hash):
            if cause := find(store, text):
                return cause
    try:
        subject = find_subject(store, text)
    except UserError:
        if _HEX.fullmatch(text) and len(text) <= ID_LENGTH:
            return _find_example(store, text, show_progress)
        raise
    if subject.runs:
        return _make_run_cause(store, RUN, text, subject.reason, subject.runs)
    return _make_artifact_cause(store, text, subject.artifacts[0])


def _make_artifact_cause(store: MetadataStore, text: str, artifact: mlmd.Artifact) -> Cause:
    if artifact.type == "PushedModel":
        artifact = _find_trained(store, artifact)
    words = f"the artifact {artifact.id} of type {artifact.type}"
    # Under this name another run can have started from it.
    names = frozenset({find_preset_folder(artifact.uri)} if "method" in artifact.custom_properties else ())
    return Cause(kind=ARTIFACT, text=text, reason=words, artifacts=(artifact.id,), names=names)


def _find_model(store: MetadataStore, text: str) -> Cause | None:
    """A model by its folder, before presets: what started from that folder is found from the model, and more than that."""
    found = find_by_path(store, text)
    return _make_artifact_cause(store, text, found[0]) if found and found[0].type in _MODEL_TYPES else None


def _find_trained(store: MetadataStore, pushed: mlmd.Artifact) -> mlmd.Artifact:
    writers = {e.execution_id for e in store.get_events_by_artifact_ids([pushed.id]) if e.type == mlmd.Event.OUTPUT}
    read = [e.artifact_id for e in store.get_events_by_execution_ids(sorted(writers)) if e.type == mlmd.Event.INPUT]
    models = [artifact for artifact in store.get_artifacts_by_id(read) if artifact.type == "Model"] if read else []
    return max(models, key=lambda model: model.id, default=pushed)


def _find_data(store: MetadataStore, text: str) -> Cause | None:
    found, words = find_examples_from(store, text)
    return _make_data_cause(store, text, words, found) if found else None


def _make_data_cause(store: MetadataStore, text: str, words: str, found: Iterable[mlmd.Artifact]) -> Cause:
    ids = tuple(sorted(artifact.id for artifact in found))
    versions = Counter(
        (artifact.custom_properties["data_path"].string_value, artifact.custom_properties["data_sha256"].string_value)
        for artifact in sorted(found, key=lambda artifact: -artifact.id)
    )
    details = tuple(
        f"{path}, sha256 {digest[:12]}, read {_count(times, 'time')}" for (path, digest), times in versions.items()
    )
    return Cause(
        kind=DATA, text=text, reason=words, artifacts=ids, executions=_find_writers(store, ids), details=details
    )


def _find_writers(store: MetadataStore, artifact_ids: Iterable[int]) -> frozenset[int]:
    """Returns all executions that wrote artifacts, or took them over from the cache."""
    events = store.get_events_by_artifact_ids(list(artifact_ids))
    return frozenset(event.execution_id for event in events if event.type == mlmd.Event.OUTPUT)


def _find_preset(store: MetadataStore, text: str) -> Cause | None:
    names = sorted(name for name in spell(text) | {os.path.relpath(text)} if is_quotable(name))
    if not names:
        return None
    listed = ", ".join(f'"{name}"' for name in names)
    # The others are the untouched preset.
    models = [model for model in _list_models(store, names, listed) if "method" in model.custom_properties]
    by_role = {
        role: store.get_artifacts(
            ListOptions(filter_query=f"type = 'Examples' AND custom_properties.{role}.string_value IN ({listed})")
        )
        for role in ("reference", "base")
    }
    if not models and not any(by_role.values()):
        return None
    references = by_role["reference"]
    words = " and ".join(
        (["a preset"] if models or by_role["base"] else [])
        + (["a reference model of token cleaning"] if references else [])
    )
    return Cause(
        kind=PRESET,
        text=text,
        reason=words,
        artifacts=tuple({artifact.id for found in by_role.values() for artifact in found}),
        models=tuple(models),
        names=frozenset(names),
    )


def _list_models(store: MetadataStore, names: list[str], listed: str) -> list[mlmd.Artifact]:
    query = f"type = 'Model' AND custom_properties.preset.string_value IN ({listed})"
    found = list(store.get_artifacts(ListOptions(filter_query=query, limit=_FEW)))
    if len(found) < _FEW:
        return found
    # With many, a filter costs more time than the models that it leaves out.
    models = store.get_artifacts_by_type("Model")
    return [model for model in models if model.custom_properties["preset"].string_value in names]


def _find_hash(store: MetadataStore, text: str) -> Cause | None:
    """Data and presets by hash, and commits; a hash of anything else is the artifact that has it."""
    if not _HEX.fullmatch(text):
        return None
    query = f"type = '{{}}' AND custom_properties.{{}}.string_value LIKE '{text}%'"
    if found := store.get_artifacts(ListOptions(filter_query=query.format("Examples", "data_sha256"))):
        return _make_data_cause(store, text, "data, by their hash", found)
    models = store.get_artifacts(ListOptions(filter_query=query.format("Model", "base_hash")))
    if models:
        return Cause(
            kind=PRESET,
            text=text,
            reason="the weights that training started from, by their hash",
            models=tuple(models),
            names=frozenset(str(get_properties(model).get("started_from", "")) for model in models) - {""},
        )
    if cause := _find_preset_hash(store, text):
        return cause
    for name in ("code_version", "code_sha256"):
        runs = list_run_contexts(store, _MAX_RUNS, f"custom_properties.{name}.string_value LIKE '{text}%'")
        if runs:
            commits = {str(get_properties(run)[name]) for run in runs}
            if len(commits) > 1:
                named = ", ".join(sorted(commits)[:5])
                raise UserError(f"{text!r} is the beginning of {len(commits)} commits: {named}. Give more of it.")
            words = "a commit" if name == "code_version" else "a state of the code, by its hash"
            return _make_run_cause(store, COMMIT, text, f"{words} ({commits.pop()[:12]})", tuple(runs))
    return None


def _find_preset_hash(store: MetadataStore, text: str) -> Cause | None:
    exported = f"type = 'Model' AND custom_properties.preset_hash.string_value LIKE '{text}%'"
    untouched = store.get_artifacts(ListOptions(filter_query=exported))
    executions = {
        execution.id
        for condition in (_HASH_IN_TRAINER, _HASH_ELSEWHERE)
        for execution in store.get_executions(ListOptions(filter_query=condition.format(text)))
    }
    if not untouched and not executions:
        return None
    written = store.get_events_by_execution_ids(sorted(executions)) if executions else []
    outputs = {event.artifact_id for event in written if event.type == mlmd.Event.OUTPUT}
    artifacts = store.get_artifacts_by_id(sorted(outputs)) if outputs else []
    return Cause(
        kind=PRESET,
        text=text,
        reason="a preset, by the hash of its folder",
        artifacts=tuple(artifact.id for artifact in artifacts if artifact.type != "Model"),
        models=tuple(a for a in artifacts if a.type == "Model" and "method" in a.custom_properties),
        executions=frozenset(executions),
        names=frozenset(str(get_properties(a)["preset"]) for a in untouched if "preset" in a.custom_properties),
    )


def _make_run_cause(store: MetadataStore, kind: str, text: str, reason: str, runs: tuple[mlmd.Context, ...]) -> Cause:
    """What really ran in these runs; what they took from the cache was made by other code."""
    executions = list_executions(store, [run.id for run in runs])
    ran = sorted(e.id for e in executions if e.last_known_state == mlmd.Execution.COMPLETE)
    events = [event for chunk in chunk_ids(ran) for event in store.get_events_by_execution_ids(chunk)]
    ids = sorted({event.artifact_id for event in events if event.type == mlmd.Event.OUTPUT})
    made = [artifact for chunk in chunk_ids(ids) for artifact in store.get_artifacts_by_id(chunk)]
    return Cause(
        kind=kind,
        text=text,
        reason=reason,
        artifacts=tuple(artifact.id for artifact in made if artifact.type != "Model"),
        models=tuple(a for a in made if a.type == "Model" and "method" in a.custom_properties),
        executions=frozenset(ran),
        runs=runs,
        details=(_count(len(runs), "run"),) if kind == COMMIT else (),
    )


def _find_example(
    store: MetadataStore, beginning: str, show_progress: Callable[[], AbstractContextManager[Progress | None]]
) -> Cause:
    if not _HEX.fullmatch(beginning) or len(beginning) > ID_LENGTH:
        raise UserError(
            f"an example's id consists of {ID_LENGTH} hex digits, of which at least the first 6 must be given. Received: {beginning!r}. "
            "Reports and predictions have it as `example_id`."
        )
    contents = list_contents(store)
    with show_progress() as progress:
        found = search(contents, beginning, progress)
    if not found.holdings:
        raise UserError(_explain_absence(beginning, contents, found))
    ids = tuple(artifact_id for holding in found.holdings for artifact_id in holding.content.artifact_ids)
    return Cause(
        kind=EXAMPLE,
        text=beginning,
        reason=f"the example {found.example_id}",
        artifacts=ids,
        executions=_find_writers(store, ids),
        example=found,
        details=tuple(_list_places(found)),
    )


def _list_places(found: Search) -> Iterator[str]:
    for holding in found.holdings:
        yield f"in the split {holding.split} of {_describe(holding.content)}"
    for content, reason in found.unknown:
        yield f"not known of {_describe(content)} (artifact {content.artifact_ids[0]}): {reason}"


def _describe(content: Content) -> str:
    return f"{content.data_path}, sha256 {content.data_sha256[:12]}"


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def _explain_absence(beginning: str, contents: list[Content], found: Search) -> str:
    told = [
        f"the metadata store knows no {beginning!r}, and among the examples in the data of runs ({found.num_searched:,} searched) "
        "none has such an id."
    ]
    if found.unknown:
        named = "; ".join(
            f"{content.data_path} (artifact {content.artifact_ids[0]}): {why}" for content, why in found.unknown[:5]
        )
        told.append(f"Of {len(found.unknown):,} of {len(contents):,} it cannot be known whether they held it: {named}.")
    told.append(
        "A record that went to the quarantine has no id, and no model has seen it: look for its text in `quarantine/` below the examples."
    )
    return " ".join(told)
