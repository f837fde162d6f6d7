"""Which files a data path means, of which format they are, and one hash over what is in them. Imports no TFX."""

import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from components import storage
from components.content import hash_file
from components.errors import UserError

EXTENSIONS = {
    "jsonl": (".jsonl", ".jsonl.gz"),
    "json": (".json", ".json.gz"),
    "csv": (".csv", ".csv.gz"),
    "parquet": (".parquet",),
}
_GLOB_CHARACTERS = "*?["
_ALL_FILES = "*"


class DataFile(NamedTuple):
    """A data file and its format (`jsonl`, `json`, `csv` or `parquet`)."""

    path: str
    format: str


def split_path(path: str) -> tuple[str, str]:
    """Splits `data.path` into a folder and a pattern inside it, as TFX wants them.

    A path is a folder (it is one on this machine, ends with a slash, or is a URL without an extension), a glob of files in one
    folder, or a file.

    Raises:
        UserError: If it is empty, has a glob in its folder part, or braces, which are for spans (see `spans.py`).
    """
    head, _, name = path.rstrip("/").rpartition("/")
    if not path.strip() or not name:
        raise UserError(f"data.path: must be a file, a folder or a glob of files in one folder. Received: {path!r}.")
    if path.endswith("/") or _is_folder(path):
        base, pattern = path.rstrip("/"), _ALL_FILES
    elif Path(path).is_file():
        base, pattern = head or "/" * path.startswith("/") or ".", _escape(name)
    else:
        base, pattern = head or "/" * path.startswith("/") or ".", name
    if any(c in base for c in _GLOB_CHARACTERS) or "{" in path:
        raise UserError(
            "data.path: `*`, `?` and `[` may stand in the last part only, and braces nowhere. "
            f"Received: {path!r}. Put the files into one folder, or rename the folder."
        )
    return base, pattern


def join_path(base: str, pattern: str) -> str:
    """Returns the path that `split_path` was given, but for a slash at the end."""
    if pattern == _ALL_FILES:
        return base
    name = re.sub(r"\[([*?[])\]", r"\1", pattern)
    return name if base == "." else f"{base.rstrip('/')}/{name}"


def list_files(
    base: str, pattern: str, format_name: str, on_left_out: Callable[[list[str]], object] = lambda _: None
) -> list[DataFile]:
    """Returns the data files in order of their names.

    Of a folder these are the visible files with an extension of `format_name` (of any format for `auto`); a file or a glob
    means just what it names, and `format_name`, if not `auto`, overrules the extension.

    Args:
        base: See `split_path`.
        pattern: Likewise.
        format_name: `data.format`.
        on_left_out: Is told the names of what is there and is no data file, folders with a slash; not of hidden ones.

    Raises:
        UserError: If there is none, one is no regular file, or its format cannot be told.
    """
    found, folders = _find(base, pattern)
    files = select_files(found, base, pattern, format_name, len(folders))
    for file in files:
        if kind := _name_irregular(file.path):
            raise UserError(
                f"data.path: data must be in regular files. Received: {_show(file.path)}, which is {kind}. Remove it, or name the others."
            )
    left = sorted({*found} - {file.path for file in files})
    names = [
        *(PurePosixPath(path).name for path in left),
        *(f"{PurePosixPath(path.rstrip('/')).name}/" for path in folders),
    ]
    on_left_out([name for name in names if not name.startswith(".")])
    return files


def explain_refusal(place: str, error: OSError) -> str:
    """Returns what to say where a place cannot be listed."""
    return (
        f"data.path: {place} must be there, and readable for this account. Received: {error}. Check the name, the network and your "
        "credentials."
    )


def _find(base: str, pattern: str) -> tuple[list[str], list[str]]:
    """Returns files and folders in a folder."""
    try:
        found = storage.find_files(f"{base.rstrip('/')}/{pattern}")
        folders = {path for path in found if storage.is_folder(path)}
    except OSError as error:
        raise UserError(explain_refusal(base, error)) from error
    return [path for path in found if path not in folders], sorted(folders)


def _name_irregular(path: str) -> str | None:
    """Returns what a local path is that is no regular file: reading a pipe would wait for whoever writes into it."""
    if storage.is_remote(path):
        return None
    if _show(path) != path:
        return "a name that is not UTF-8"
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return "a link to a file that is not there"
    except OSError as error:
        return f"a file that cannot be looked at ({error.strerror})"
    kinds = {
        stat.S_IFIFO: "a named pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    return kinds.get(stat.S_IFMT(mode))


def describe_links(files: Iterable[DataFile]) -> list[str]:
    """Returns `name (path)` of the files that are links to files outside of their folder, which somebody else may change or own."""
    told = []
    for path in (file.path for file in files if not storage.is_remote(file.path)):
        folder, target = os.path.realpath(os.path.dirname(path) or "."), os.path.realpath(path)
        if os.path.islink(path) and os.path.commonpath((folder, target)) != folder:
            told.append(f"{os.path.basename(path)} ({target})")
    return told


def _show(path: str) -> str:
    """Returns a path whose bytes are text."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def hash_files(files: Iterable[DataFile]) -> str:
    """Returns the SHA-256 of data files by name and content; all of them are read.

    Raises:
        OSError: One cannot be read.
    """
    return combine_hashes([{"path": file.path, "sha256": hash_file(file.path)} for file in files])


def combine_hashes(files: Sequence[Mapping[str, Any]]) -> str:
    """Returns the SHA-256 of the file, or of the sorted lines `name:sha256` of several.

    Args:
        files: Of each `path` and `sha256`.
    """
    if len(files) == 1:
        return str(files[0]["sha256"])
    lines = sorted(f"{PurePosixPath(file['path']).name}:{file['sha256']}" for file in files)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def make_fingerprint(sha256: str, paths: Sequence[str]) -> str:
    """Returns what the cache knows data by: names and content.

    A single file's hash is that of its content alone, as other programs compute it; the ids of its examples have its name as well.

    Args:
        sha256: See `combine_hashes`.
        paths: Of the files.
    """
    if len(paths) != 1:
        return sha256
    return hashlib.sha256(f"{PurePosixPath(paths[0]).name}:{sha256}".encode()).hexdigest()


def select_files(
    found: Sequence[str], base: str, pattern: str, format_name: str, num_folders: int = 0
) -> list[DataFile]:
    """Returns those of the files `found` in `base` by `pattern` that are data files; see `list_files`.

    Args:
        found: Paths.
        base: See `split_path`.
        pattern: Likewise.
        format_name: `data.format`.
        num_folders: How many folders there are beside them, which are not looked into.
    """
    path = join_path(base, pattern)
    if pattern == _ALL_FILES:
        names = EXTENSIONS if format_name == "auto" else {format_name: EXTENSIONS[format_name]}
        endings = tuple(ending for group in names.values() for ending in group)
        files = [f for f in found if f.lower().endswith(endings) and not PurePosixPath(f).name.startswith(".")]
        if not files:
            there = ", ".join(PurePosixPath(f).name for f in found[:5]) or "no files"
            folders = "one folder, which is" if num_folders == 1 else f"{num_folders:,} folders, which are"
            deeper = f" and {folders} not looked into: name one" if num_folders else ""
            raise UserError(
                f"data.path: {path} must hold files that end in {', '.join(endings)}. It holds {there}{deeper}."
            )
    else:
        # As a shell would, and as of a folder: what is hidden is no data, unless it is asked for.
        files = [f for f in found if pattern.startswith(".") or not PurePosixPath(f).name.startswith(".")]
        if not files:
            raise UserError(f"data.path: no such file: {path}. Relative paths start where the command is run.")
    return [DataFile(f, detect_format(f) if format_name == "auto" else format_name) for f in files]


def detect_format(path: str) -> str:
    """Returns the format that the extension says.

    Raises:
        UserError: If it says none.
    """
    for name, endings in EXTENSIONS.items():
        if path.lower().endswith(endings):
            return name
    endings_text = ", ".join(ending for group in EXTENSIONS.values() for ending in group)
    raise UserError(
        f"data.path: the name of a data file must end in {endings_text}. Received: {path}. "
        "Rename it, or set `data.format` to what it holds."
    )


def _is_folder(path: str) -> bool:
    # A bucket must not be asked here: pipelines are compiled where there are no credentials.
    return not PurePosixPath(path).suffix if "://" in path else Path(path).is_dir()


def _escape(name: str) -> str:
    """Takes the special meaning from a glob's characters, for a file that has them in its name."""
    return "".join(f"[{c}]" if c in _GLOB_CHARACTERS else c for c in name)
