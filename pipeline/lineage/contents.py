"""Compares what the store says of files with the files themselves: hashes them and says what is missing or has changed."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from ml_metadata.proto import metadata_store_pb2 as mlmd

from components import storage
from components.content import CONTENT_SHA256, Content, FileContent, hash_file, read_manifest

SOURCE_DATA = "source data"
_MAX_THREADS = 8


class State(StrEnum):
    """What became of recorded files."""

    OK = "ok"
    CHANGED = "changed"
    MISSING = "missing"
    UNREADABLE = "unreadable"
    UNVERIFIABLE = "unverifiable"
    """They are there, and nothing was recorded that they could be held against."""


class Progress(Protocol):
    """Is told how far the hashing is."""

    def start(self, num_bytes: int) -> None:
        """So many bytes are to be read."""

    def advance(self, num_bytes: int) -> None:
        """So many more were read; called from several threads."""


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What the store says is there.

    Attributes:
        artifact_id: Of the artifact that says so.
        kind: Its type, or `SOURCE_DATA`.
        place: The folder or file, or for source data the path as it was given to the run.
        paths: The folders and files that are hashed.
        sha256: The recorded hash; empty if there is none.
        files: The files that it was made of, where they are known. Those of an artifact have names from its folder on.
        combine: Makes one hash of the files'.
    """

    artifact_id: int
    kind: str
    place: str
    paths: tuple[str, ...]
    sha256: str
    files: tuple[FileContent, ...] | None
    combine: Callable[[tuple[FileContent, ...]], str]


@dataclass(frozen=True, kw_only=True)
class Check:
    """What was found.

    Attributes:
        artifact_id: See `Expected`.
        kind: See `Expected`.
        place: See `Expected`.
        state: Whether it is as recorded.
        recorded_sha256: The recorded hash; empty if there is none.
        found_sha256: The hash of what is there; empty if it was not computed.
        num_bytes: Size of what is there.
        details: Which files differ, and how.
    """

    artifact_id: int
    kind: str
    place: str
    state: State
    recorded_sha256: str
    found_sha256: str
    num_bytes: int
    details: tuple[str, ...] = ()


def expect_artifact(artifact: mlmd.Artifact) -> list[Expected]:
    """Returns what an artifact says is there: its folder, and for a pushed model also the folder that it was pushed to."""
    sha256 = artifact.custom_properties[CONTENT_SHA256].string_value
    destination = artifact.custom_properties["pushed_destination"].string_value
    files = read_manifest(artifact.uri, sha256) if sha256 else None
    return [
        Expected(
            artifact_id=artifact.id,
            kind=artifact.type,
            place=place,
            paths=(place,),
            sha256=sha256,
            files=files,
            combine=lambda found: Content(found).sha256,
        )
        for place in dict.fromkeys((artifact.uri, destination))
        if place
    ]


def check_all(expected: Sequence[Expected], progress: Progress) -> list[Check]:
    """Hashes all files with several threads, each file once, and compares; in the order of `expected`.

    Args:
        expected: What should be there.
        progress: Is told how far it is.
    """
    with ThreadPoolExecutor(min(_MAX_THREADS, (os.cpu_count() or 1) + 2)) as pool:
        try:
            listings = dict(zip(*_spread(pool, _list_path, {p for e in expected for p in e.paths}), strict=True))
            hashed = [path for e in expected if e.sha256 for path in e.paths]
            sizes = {
                storage.join(path, file.name): file.size
                for path in hashed
                if isinstance(listings[path], list)
                for file in listings[path]
            }
            progress.start(sum(sizes.values()))
            hashes = dict(zip(*_spread(pool, lambda place: _hash(place, progress), sizes), strict=True))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [_judge(e, listings, hashes) for e in expected]


def _spread(pool: ThreadPoolExecutor, work: Callable[[str], object], items: Iterable[str]) -> tuple[list[str], list]:
    given = list(items)
    return given, list(pool.map(work, given))


def _list_path(path: str) -> list[storage.StoredFile] | OSError:
    try:
        return storage.list_files(path)
    except OSError as error:
        return error


def _hash(place: str, progress: Progress) -> str | OSError:
    try:
        return hash_file(place, progress.advance)
    except OSError as error:
        return error


def _judge(expected: Expected, listings: dict, hashes: dict) -> Check:
    found: list[FileContent] = []
    missing: list[str] = []
    problems: list[str] = []
    num_bytes = 0
    for path in expected.paths:
        listing = listings[path]
        if isinstance(listing, OSError):
            (missing if isinstance(listing, FileNotFoundError) else problems).append(f"{path}: {_reason(listing)}")
            continue
        for file in listing:
            num_bytes += file.size
            if not expected.sha256:
                continue
            sha256 = hashes[storage.join(path, file.name)]
            name = storage.join(path, file.name) if expected.kind == SOURCE_DATA else file.name
            if isinstance(sha256, OSError):
                problems.append(f"{storage.join(path, file.name)}: {_reason(sha256)}")
            else:
                found.append(FileContent(name, file.size, sha256))
    sha256 = expected.combine(tuple(found)) if expected.sha256 and not problems and not (missing and not found) else ""
    details: tuple[str, ...] = tuple(problems)
    if problems:
        state = State.UNREADABLE
    elif not expected.sha256:
        state = State.MISSING if missing else State.UNVERIFIABLE
    elif sha256 == expected.sha256 or (not found and expected.combine(()) == expected.sha256):
        state = State.OK  # a Pusher that held the model back has written no folder
    elif not found:
        state = State.MISSING
    else:
        state, details = State.CHANGED, tuple(_list_differences(expected, found))
    return Check(
        artifact_id=expected.artifact_id,
        kind=expected.kind,
        place=expected.place,
        state=state,
        recorded_sha256=expected.sha256,
        found_sha256=sha256,
        num_bytes=num_bytes,
        details=details,
    )


def _list_differences(expected: Expected, found: Sequence[FileContent]) -> Iterator[str]:
    if expected.files is None:
        yield "which files differ is not known: the list of them is gone, or was changed too"
        return
    now, before = {file.name: file for file in found}, {file.name: file for file in expected.files}
    for name in sorted(now.keys() | before.keys()):
        shown = name or expected.place
        if name not in now:
            yield f"{shown}: missing ({before[name].size:,} bytes)"
        elif name not in before:
            yield f"{shown}: not recorded ({now[name].size:,} bytes)"
        elif now[name].size != before[name].size:
            yield f"{shown}: {now[name].size:,} bytes instead of {before[name].size:,}"
        elif now[name].sha256 != before[name].sha256:
            yield f"{shown}: other bytes, same size ({now[name].size:,} bytes)"


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
