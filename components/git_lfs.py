"""Git LFS leaves a small text in place of a large file that was not fetched."""

from collections.abc import Iterator
from pathlib import Path

POINTER = b"version https://git-lfs.github.com/spec/"  # what such a text begins with
_MOST_BYTES = 1024


def list_pointers(folder: Path, inside: tuple[str, ...] = ()) -> Iterator[str]:
    """Yields the names of the files in a folder, sorted, that are pointers and not the files.

    Args:
        folder: The folder.
        inside: Folders in it that are looked into as well, with all that is in them.
    """
    found = [*folder.iterdir(), *(path for name in inside for path in (folder / name).rglob("*"))]
    for path in sorted(found):
        try:
            if path.is_file() and path.stat().st_size <= _MOST_BYTES and path.read_bytes().startswith(POINTER):
                yield path.relative_to(folder).as_posix()
        except OSError:  # whoever needs it says so
            continue
