"""The data files that runs have read, as far as examples in the store name them."""

import dataclasses
import json
import os
from collections.abc import Iterable, Iterator

from ml_metadata.proto import metadata_store_pb2 as mlmd

from components import storage
from components.content import FileContent
from components.errors import UserError
from components.example_gen.files import combine_hashes, select_files, split_path
from pipeline.code_hash import REPOSITORY_ROOT
from pipeline.lineage.contents import SOURCE_DATA, Check, Expected, State

# What ExampleGen writes beside the examples: each file with its size and hash.
_REPORT = "ingest_report.json"
# Between the paths of several spans.
_SEPARATOR = ", "


def expect_source_data(artifacts: Iterable[mlmd.Artifact]) -> list[Expected]:
    """Returns what the examples among the artifacts say of the data that they were made from; the same data once."""
    groups: dict[tuple[str, str], list[mlmd.Artifact]] = {}
    for artifact in artifacts:
        recorded = artifact.custom_properties
        if recorded["data_sha256"].string_value:
            key = (recorded["data_path"].string_value, recorded["data_sha256"].string_value)
            groups.setdefault(key, []).append(artifact)
    return [_expect(path, sha256, group) for (path, sha256), group in groups.items()]


def name_successors(checks: Iterable[Check]) -> Iterator[Check]:
    """Yields the checks; those of data that have changed with whether a later run has read what is there now."""
    checks = list(checks)
    known = {(check.place, check.recorded_sha256): check.artifact_id for check in checks if check.kind == SOURCE_DATA}
    for check in checks:
        reader = known.get((check.place, check.found_sha256))
        if check.kind == SOURCE_DATA and check.state is State.CHANGED and reader is not None:
            line = f"what is there now was read for artifact {reader}"
            yield dataclasses.replace(check, details=(*check.details, line))
        else:
            yield check


def _expect(path: str, sha256: str, artifacts: list[mlmd.Artifact]) -> Expected:
    reports = (_read_report(artifact, sha256) for artifact in reversed(artifacts))
    files = next((files for files in reports if files), None)
    return Expected(
        artifact_id=artifacts[-1].id,
        kind=SOURCE_DATA,
        place=path,
        paths=tuple(file.name for file in files) if files else tuple(_find_files(path)),
        sha256=sha256,
        files=files,
        combine=_combine,
    )


def _combine(files: tuple[FileContent, ...]) -> str:
    return combine_hashes([{"path": file.name, "sha256": file.sha256} for file in files])


def _read_report(artifact: mlmd.Artifact, sha256: str) -> tuple[FileContent, ...] | None:
    """Returns the files of ExampleGen's report; None if it is gone, or is not that of the recorded hash."""
    try:
        report = json.loads(storage.read_text(storage.join(artifact.uri, _REPORT)))
        files = tuple(FileContent(str(f["path"]), int(f["bytes"]), str(f["sha256"])) for f in report["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if _combine(files) != sha256:
        return None
    return tuple(file._replace(name=_locate(file.name)) for file in files)


def _find_files(data_path: str) -> Iterator[str]:
    """Yields the files that a path means now; a part that means none as it is, so that it is found to be missing."""
    whole = _locate(data_path)
    parts = [whole] if storage.exists(whole) else [_locate(part) for part in data_path.split(_SEPARATOR)]
    for part in parts:
        try:
            base, pattern = split_path(part)
            found = storage.find_files(f"{base.rstrip('/')}/{pattern}")
            yield from (file.path for file in select_files(found, base, pattern, "auto"))
        except UserError:
            yield part


def _locate(path: str) -> str:
    """Relative paths start where the run was started: here, or the folder of this code."""
    if storage.is_remote(path) or os.path.isabs(path):
        return path
    at_home = os.path.join(REPOSITORY_ROOT, path)
    is_at_home = os.path.exists(at_home) and not os.path.exists(path)
    return at_home if is_at_home else os.path.abspath(path)
