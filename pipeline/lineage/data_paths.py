"""Whether a path that a user gives is the data of a run, which has recorded a file, a folder, a pattern, or several."""

import fnmatch
import json
import os
from pathlib import Path, PurePosixPath

_GLOB_CHARACTERS = "*?["
_INGEST_REPORT = "ingest_report.json"


def _list_paths(recorded: str) -> list[str]:
    """A run of several spans records their paths with commas between."""
    return list(dict.fromkeys((recorded, *recorded.split(", "))))


def spell(path: str) -> set[str]:
    """Returns how a path may have been written."""
    path = path.rstrip("/") or path
    if not path or "\0" in path:
        return set()
    if "://" in path:
        return {path}
    return {path, os.path.abspath(path), os.path.realpath(path)}


def is_same_path(text: str, recorded: str) -> bool:
    """Returns whether a path is the recorded one, or one of those recorded together."""
    spellings = spell(text)
    return any(spellings & spell(path) for path in _list_paths(recorded))


def contains_path(text: str, recorded: str) -> bool:
    """Returns whether a path is one file of a recorded pattern or folder, by their names."""
    if not PurePosixPath(text).suffix:
        return False
    for path in _list_paths(recorded):
        base, _, name = path.rstrip("/").rpartition("/")
        for spelling in spell(text):
            folder, _, file = spelling.rpartition("/")
            is_of_pattern = (
                any(c in name for c in _GLOB_CHARACTERS) and folder == base and fnmatch.fnmatchcase(file, name)
            )
            if is_of_pattern or folder == path.rstrip("/"):
                return True
    return False


def ends_like_path(text: str, recorded: str) -> bool:
    """Returns whether a recorded path ends with the given one: runs record absolute paths, also those of another machine."""
    parts = PurePosixPath(os.path.normpath(text)).parts
    if not PurePosixPath(text).suffix or text.startswith("/") or ".." in parts:
        return False
    return any(PurePosixPath(path).parts[-len(parts) :] == parts for path in _list_paths(recorded))


def was_read(examples_uri: str, text: str) -> bool:
    """Returns whether the run that wrote raw examples from a folder or a pattern read this file.

    Args:
        examples_uri: The folder of the examples. If the report in it is gone, the file is taken to have been read.
        text: The file.
    """
    report = Path(examples_uri, _INGEST_REPORT)
    try:
        files = [file["path"] for file in json.loads(report.read_text(encoding="utf-8"))["files"]]
    except (OSError, ValueError, KeyError, TypeError):
        return True
    return any(is_same_path(text, file) for file in files)
