"""What is wrong with paths of data files, before anything runs."""

import glob
import unicodedata
from pathlib import Path

from components import storage
from components.addresses import hide_password
from components.errors import UserError
from components.example_gen.files import detect_format, list_files, split_path
from components.example_gen.spans import find_problem, find_spans, has_placeholders
from pipeline.preset_checks import near_file

# What Beam and TensorFlow read with the packages of the lock.
_SCHEMES = ("gs",)
_CONTROLS = ("Cc", "Cs", "Zl", "Zp")  # Unicode's categories


def find_file_problems(path: str, file_format: str, mounted: str | None = None) -> list[str]:
    """Returns what is wrong with a path of data files.

    Args:
        path: A file, a folder or a glob, perhaps with placeholders of spans.
        file_format: As in the configuration.
        mounted: Where the cluster mounts a volume. What is below it is looked for when the run starts.
    """
    if any(unicodedata.category(character) in _CONTROLS for character in path):
        return [
            f"must be a path without line breaks and other control characters. Received: {path!r}. Rename the file."
        ]
    if path.startswith("~"):
        return [f"must be a path without `~`, which only shells read. Received: {path!r}. Give the whole path."]
    if problem := find_problem(path):
        return [problem]
    scheme, separator, _ = path.partition("://")
    if separator and scheme not in _SCHEMES:
        return [
            f"must be a local path or an address in a bucket ({', '.join(f'{name}://' for name in _SCHEMES)}). Received: {hide_password(path)!r}. Download "
            "it, and give the file."
        ]
    is_elsewhere = "://" in path or is_below(path, mounted)
    if has_placeholders(path) and is_elsewhere:
        return []
    try:
        path = find_spans(path, 1, glob.glob)[-1].path if has_placeholders(path) else path
        base, pattern = split_path(path)
        if is_elsewhere:
            # A name without an extension may be a folder's.
            if file_format == "auto" and pattern != "*" and Path(path).suffix:
                detect_format(path)
        elif Path(path).is_dir() or storage.find_files(storage.join(glob.escape(base), pattern)):
            list_files(base, pattern, file_format)
        else:
            return [f"must be a file, a folder or a glob of files that matches.{near_file(path)}"]
    except UserError as error:
        return [str(error).removeprefix("data.path: ")]
    except OSError as error:  # a path that is too long, or below a folder that this account may not look into
        return [f"must be a path that this account can look at. Received: {path[:200]!r}: {error.strerror}."]
    return []


def is_below(path: str, folder: str | None) -> bool:
    """Returns whether a path is inside of a folder; false without one."""
    return folder is not None and path.startswith(f"{folder.rstrip('/')}/")
