"""Files of a folder, on a local disk or in a bucket: which there are, their bytes, and removing them.

What is local needs no TensorFlow; a bucket is asked through TensorFlow's own client, which is imported when that happens.
"""

import contextlib
import errno
import glob
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

_BLOCK_BYTES = 1 << 20


class StoredFile(NamedTuple):
    """A file below a folder.

    Attributes:
        name: From the folder on, with slashes.
        size: In bytes.
        changed_at: When it was last written, in seconds since 1970.
    """

    name: str
    size: int
    changed_at: float


def is_remote(place: str) -> bool:
    """Returns whether a place is an address, such as one in a bucket, and not a local path."""
    return "://" in place


def exists(place: str) -> bool:
    """Returns whether there is a file or a folder.

    Raises:
        OSError: A bucket cannot be asked.
    """
    if not is_remote(place):
        return os.path.exists(place)
    with _remote_errors():
        return bool(_gfile().exists(place))


def list_files(place: str, on_unreadable: Callable[[str, OSError], object] | None = None) -> list[StoredFile]:
    """Returns all files below a folder in the order of their names; a file is the only one of itself.

    Links to folders are not followed: what they lead to is not part of the folder.

    Args:
        place: The folder.
        on_unreadable: Is told the name of each folder in it, from it on, that cannot be read, and why, and the others are listed. None:
            such a folder is an error.

    Raises:
        FileNotFoundError: There is neither a file nor a folder.
        OSError: It cannot be read.
    """
    place = place.rstrip("/")
    found = _list_remote(place) if is_remote(place) else _list_local(place, on_unreadable)
    return sorted(found, key=lambda file: file.name)


def is_folder(place: str) -> bool:
    """Returns whether there is a folder.

    Raises:
        OSError: A bucket cannot be asked.
    """
    if not is_remote(place):
        return os.path.isdir(place)
    with _remote_errors():
        return bool(_gfile().isdir(place))


def find_files(pattern: str) -> list[str]:
    """Returns the files and folders that match a pattern with `*`, `?` and `[...]`, hidden ones too, in order.

    Raises:
        OSError: A bucket cannot be asked.
    """
    if not is_remote(pattern):
        return sorted(glob.glob(pattern, include_hidden=True))
    with _remote_errors():
        return sorted(_gfile().glob(pattern))


def join(folder: str, name: str) -> str:
    """Returns the place of a file of `list_files`."""
    folder = folder.rstrip("/")
    return f"{folder}/{name}" if name else folder


def read_blocks(place: str) -> Iterator[bytes]:
    """Yields the bytes of a file in blocks.

    Raises:
        OSError: It cannot be read.
    """
    if not is_remote(place):
        if os.path.exists(place) and not os.path.isfile(place):
            # Whoever opens a named pipe waits for somebody who writes into it.
            raise OSError(errno.EINVAL, "this is no regular file", place)
        with open(place, "rb") as stream:
            while block := stream.read(_BLOCK_BYTES):
                yield block
        return
    with _remote_errors(), _gfile().GFile(place, "rb") as stream:
        while block := stream.read(_BLOCK_BYTES):
            yield block


def read_text(place: str) -> str:
    """Returns a whole file of UTF-8 text.

    Raises:
        OSError: It cannot be read.
    """
    return b"".join(read_blocks(place)).decode("utf-8")


def write_text(place: str, text: str) -> None:
    """Writes a file of UTF-8 text, whole or not at all; folders above it are made.

    Raises:
        OSError: It cannot be written.
    """
    if is_remote(place):
        with _remote_errors(), _gfile().GFile(place, "wb") as stream:  # an object is there when its upload has ended
            stream.write(text.encode())
        return
    path = Path(place)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as stream:
        stream.write(text.encode())


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A local file to write: it is there, in place of an earlier one, once all is in it; not at all if there is an exception.

    What is no regular file, such as `/dev/stdout` or a named pipe, is written to as it is.

    Raises:
        OSError: It cannot be written.
    """
    if path.exists() and not path.is_file():
        with path.open("wb") as stream:
            yield stream
        return
    path = path.resolve()  # a link stays, whatever it leads to, such as where the shell has sent `/dev/stdout`
    temporary = path.with_name(f".{path.name[:50]}-{uuid.uuid4().hex}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            yield stream
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def remove(place: str) -> None:
    """Removes a file or a folder with all that is in it; nothing if there is none. Links are removed, not followed.

    Raises:
        OSError: Something cannot be removed.
    """
    if is_remote(place):
        with _remote_errors():
            if _gfile().isdir(place):
                _gfile().rmtree(place)
            elif _gfile().exists(place):
                _gfile().remove(place)
        return
    try:
        if os.path.isdir(place) and not os.path.islink(place):
            shutil.rmtree(place)
        else:
            os.unlink(place)
    except FileNotFoundError:  # another process was faster
        if os.path.lexists(place):
            raise


def clear_folder(folder: str) -> bool:
    """Removes all that is in a folder, but not the folder; returns whether there was anything.

    Raises:
        OSError: Something cannot be removed.
    """
    if is_remote(folder):
        with _remote_errors():
            names = _gfile().listdir(folder) if _gfile().isdir(folder) else []
    else:
        names = os.listdir(folder) if os.path.isdir(folder) else []
    for name in names:
        remove(join(folder, name.rstrip("/")))
    return bool(names)


def _list_local(place: str, on_unreadable: Callable[[str, OSError], object] | None) -> Iterator[StoredFile]:
    if not os.path.isdir(place):
        status = os.stat(place)
        yield StoredFile("", status.st_size, status.st_mtime)
        return
    waiting = [""]
    while waiting:
        prefix = waiting.pop()
        try:
            with os.scandir(join(place, prefix)) as entries:
                found = list(entries)
        except OSError as error:
            if on_unreadable is None or not prefix:
                raise
            on_unreadable(prefix, error)
            continue
        for entry in found:
            name = f"{prefix}/{entry.name}" if prefix else entry.name
            if entry.is_dir(follow_symlinks=False):
                waiting.append(name)
            elif not os.path.isdir(entry.path):
                # A link that leads to nothing, or to itself, is what is there.
                status = entry.stat(follow_symlinks=os.path.exists(entry.path))
                yield StoredFile(name, status.st_size, status.st_mtime)


def _list_remote(place: str) -> Iterator[StoredFile]:
    gfile = _gfile()
    with _remote_errors():
        if not gfile.exists(place):
            raise FileNotFoundError(f"there is no {place}")
        if not gfile.isdir(place):
            status = gfile.stat(place)
            yield StoredFile("", status.length, status.mtime_nsec / 1e9)
            return
        for folder, _, names in gfile.walk(place):
            prefix = folder.rstrip("/").removeprefix(place).lstrip("/")
            for name in names:
                status = gfile.stat(f"{folder.rstrip('/')}/{name}")
                yield StoredFile(f"{prefix}/{name}" if prefix else name, status.length, status.mtime_nsec / 1e9)


@contextlib.contextmanager
def _remote_errors() -> Iterator[None]:
    """Turns TensorFlow's errors into those of a local file."""
    import tensorflow as tf

    try:
        yield
    except tf.errors.NotFoundError as error:
        raise FileNotFoundError(error.message) from error
    except tf.errors.OpError as error:
        raise OSError(error.message) from error


def _gfile() -> Any:
    import tensorflow as tf

    return tf.io.gfile
