"""Finds what lies below a root and belongs to nothing in the store, such as what killed runs have left."""

import dataclasses
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ml_metadata.proto import metadata_store_pb2 as mlmd

from components import storage
from components.pusher import versions
from pipeline.execution.run_state import RUN_CONTEXT, list_going_runs
from pipeline.lineage.places import TOP_FOLDERS, normalize

_STATES = mlmd.Execution.State
# A run writes its log before the store knows of it.
_STARTING_SECONDS = 600
_WORKING_FILES = "working files that an execution has left"


@dataclass(frozen=True, kw_only=True)
class Orphan:
    """A folder, or a file, that nothing in the store names.

    Attributes:
        place: Where it is.
        reason: What can be said of where it comes from.
        num_files: Number of files in it.
        num_bytes: Their size.
        changed_at: When the newest of them was written, in seconds since 1970.
        is_leftover: Whether an execution of this store has left it without publishing it.
    """

    place: str
    reason: str
    num_files: int
    num_bytes: int
    changed_at: float
    is_leftover: bool = False


class _Known:
    """What of the store the folders below a root are held against."""

    def __init__(self, store: Any, artifacts: Iterable[mlmd.Artifact]):
        self.places: set[str] = set()
        for artifact in artifacts:
            for place in (artifact.uri, artifact.custom_properties["pushed_destination"].string_value):
                if place:
                    self._add(normalize(place))
        self.runs = {context.name for context in store.get_contexts_by_type(RUN_CONTEXT)}
        self.going = set(list_going_runs(store))
        # By pipeline the ids of the executions that still write, as text: they name the folders that they write to.
        self.writing: dict[str, set[str]] = {}
        for name in self.going:
            context = store.get_context_by_type_and_name(RUN_CONTEXT, name)
            executions = store.get_executions_by_context(context.id)
            pipeline = context.custom_properties["pipeline_name"].string_value or _find_pipeline(store, executions)
            ids = {str(e.id) for e in executions if e.last_known_state == _STATES.RUNNING}
            self.writing.setdefault(pipeline, set()).update(ids | {name})

    def _add(self, place: str) -> None:
        # A value is a file in the folder that TFX names after the execution.
        self.places |= {place, place.removesuffix("/value")}

    def is_named(self, place: str) -> bool:
        return normalize(place) in self.places


def find_orphans(store: Any, root: str, artifacts: Iterable[mlmd.Artifact]) -> list[Orphan]:
    """Looks through the folders of a root that this project writes; see `pipeline.paths`.

    Args:
        store: An open store.
        root: Local, or in a bucket.
        artifacts: All that the store has, whatever their state.

    Raises:
        OSError: One of the root's own folders cannot be read. Those below are told as orphans of which nothing is known.
    """
    known = _Known(store, artifacts)
    units: dict[str, list[storage.StoredFile]] = {}
    unreadable: dict[str, str] = {}
    for top in TOP_FOLDERS:
        for file in _list_top(root, top, unreadable):
            if not file.name.endswith(f"/{versions.STAGING}/{versions.LOCK}"):
                units.setdefault(_get_unit(f"{top}/{file.name}"), []).append(file)
    found = {}
    for unit, files in units.items():
        newest = max(file.changed_at for file in files)
        reason = _find_reason(unit, storage.join(root, unit), known, newest)
        if reason:
            found[unit] = Orphan(
                place=storage.join(root, unit),
                reason=reason,
                num_files=len(files),
                num_bytes=sum(file.size for file in files),
                changed_at=newest,
                is_leftover=reason == _WORKING_FILES,
            )
    orphans = {orphan.place: orphan for orphan in _name_executions(store, found)}
    for name, problem in unreadable.items():
        unit = _get_unit(name)
        place = storage.join(root, unit)
        if not known.is_named(place):  # what is named is checked, which tells the same
            nothing = Orphan(place=place, reason="", num_files=0, num_bytes=0, changed_at=time.time())
            reason = f"what is in {storage.join(root, name)} is not known: {problem}"
            orphans[place] = dataclasses.replace(orphans.get(place, nothing), reason=reason, is_leftover=False)
    return list(orphans.values())


def _list_top(root: str, top: str, unreadable: dict[str, str]) -> list[storage.StoredFile]:
    def note(name: str, error: OSError) -> None:
        unreadable[f"{top}/{name}"] = error.strerror or str(error)

    try:
        return storage.list_files(storage.join(root, top), note)
    except FileNotFoundError:
        return []


def _get_unit(name: str) -> str:
    """Returns the folder that a file belongs to: what is written, named and left as one."""
    parts = name.split("/")
    match parts:
        case ["artifacts", _, _, ".system", "contents", *_]:
            return name
        case ["artifacts", _, _, ".system", *_]:
            depth = 6
        case ["artifacts", *_]:
            depth = 5
        case _:
            depth = 3
    return "/".join(parts[:depth])


def _find_reason(unit: str, place: str, known: _Known, changed_at: float) -> str:
    """Returns why a unit is an orphan; empty if it is none."""
    top, pipeline, *rest = unit.split("/")
    writing = known.writing.get(pipeline)
    if writing and (set(rest) & writing or top == "checkpoints" or rest[:1] == [versions.STAGING]):
        return ""
    match top, rest:
        case "artifacts", [node, ".system", "contents", execution, output]:
            owner = place.removesuffix(f"{node}/.system/contents/{execution}/{output}") + f"{node}/{output}/{execution}"
            return "" if known.is_named(owner) else "the list of files of an artifact that is not in the store"
        case "artifacts", [_, ".system", *_]:
            return _WORKING_FILES
        case "artifacts" | "serving", _:
            if known.is_named(place):
                return ""
            mark = versions.read_mark(place) if top == "serving" else None
            if mark and known.is_named(str(mark.get("model", ""))):
                return f"pushed from {mark['model']} by a process that was killed before it could record that"
            return "no artifact of the store names it"
        case "checkpoints", _:
            return "checkpoints of a training that has not ended; the same run would go on from them"
        case _:
            run = rest[0].partition(".")[0] if rest else ""
            starting = time.time() - changed_at < _STARTING_SECONDS
            return "" if run in known.runs or starting else "no run of the store has this name"


def _name_executions(store: Any, found: dict[str, Orphan]) -> Iterator[Orphan]:
    """Says of a folder that is named after an execution what became of that one."""
    ids = {}
    for unit in found:
        parts = unit.split("/")
        if parts[0] == "artifacts" and len(parts) == 5 and parts[4].isdigit() and len(parts[4]) < 12:
            ids[unit] = int(parts[4])
    executions = {e.id: e for e in store.get_executions_by_id(sorted(set(ids.values())))} if ids else {}
    for unit, orphan in found.items():
        execution = executions.get(ids.get(unit, -1))
        if execution is None:
            yield orphan
            continue
        state = _STATES.Name(execution.last_known_state)
        # What a run still writes is no orphan.
        what = "whose run was killed" if execution.last_known_state == _STATES.RUNNING else f"which is {state}"
        reason = f"left by execution {execution.id}, {what}"
        is_leftover = execution.last_known_state not in (_STATES.COMPLETE, _STATES.CACHED)
        yield dataclasses.replace(orphan, reason=reason, is_leftover=is_leftover)


def _find_pipeline(store: Any, executions: list[mlmd.Execution]) -> str:
    contexts = [c for execution in executions[:1] for c in store.get_contexts_by_execution(execution.id)]
    return next((context.name for context in contexts if context.type == "pipeline"), "")
