"""Output directories that are whole or absent, on a local disk or in a bucket, and where in them a preset is."""

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

_PRESET_FOLDER = "preset"


def find_preset(model_uri: str) -> str:
    """Returns the preset folder inside a Model artifact of the Trainer."""
    return os.path.join(model_uri, _PRESET_FOLDER)


@contextlib.contextmanager
def work_directory(target: str, last: str) -> Iterator[str]:
    """Yields a local directory to work in: `target` itself, or for a bucket one that is uploaded when the block ends well.

    Args:
        target: Local path or `scheme://` address.
        last: Name of the file that says that the directory is complete. It is uploaded after all others; what lies in a bucket
            without it is left from an upload that was interrupted, and makes way.

    Raises:
        FileExistsError: If there is a complete directory in the bucket.
    """
    if "://" not in target:
        yield target
        return
    with tempfile.TemporaryDirectory() as local:
        yield local
        _upload(Path(local), target.rstrip("/"), last)


@contextlib.contextmanager
def whole_directory(target: str, last: str) -> Iterator[str]:
    """Yields a local directory whose content appears at `target` when the block ends well, and not at all otherwise.

    Locally this is a rename of a sibling. A bucket has no rename of directories, so there the files are copied one by one,
    and `last`, the file that readers wait for, is copied after all others. So they are where a file system is mounted at `target`, or
    where nothing can be written beside it.

    Args:
        target: Local path or `scheme://` address. Its parents are made. A local one must be absent or empty; see `is_absent_or_empty`.
        last: See `work_directory`.

    Raises:
        FileExistsError: If `target` exists already, complete.
    """
    if "://" in target:
        with work_directory(target, last) as local:
            yield local
        return
    path = Path(os.path.realpath(target))  # a link stays, and leads to what is written
    if not is_absent_or_empty(path):
        raise FileExistsError(f"the output directory must be absent or empty. Received: {target}")
    path.parent.mkdir(parents=True, exist_ok=True)
    within = path.is_dir() and (os.path.ismount(path) or not os.access(path.parent, os.W_OK | os.X_OK))
    sibling = tempfile.mkdtemp(prefix=f".{path.name}-", dir=path if within else path.parent)
    try:
        yield sibling
        # mkdtemp makes it private to the user; a server of another user must be able to read the model.
        umask = os.umask(0)
        os.umask(umask)
        Path(sibling).chmod(0o777 & ~umask)
        if within:
            _move_files(Path(sibling), path, last)
            return
        try:
            Path(sibling).replace(path)
        except OSError as error:
            if error.errno not in (errno.EBUSY, errno.EXDEV):
                raise
            _move_files(Path(sibling), path, last)  # a part of the same file system is mounted there
    except BaseException:
        shutil.rmtree(sibling, ignore_errors=True)
        raise


def is_absent_or_empty(path: Path) -> bool:
    """Returns whether there is nothing at `path`, or an empty directory, such as a file system that was mounted just now."""
    if not path.is_dir():
        return not os.path.lexists(os.path.realpath(path))
    ours = {"lost+found"} if os.path.ismount(path) else set()
    # What a process that was killed has left of its work there.
    begun = f".{path.name}-"
    return {entry.name for entry in path.iterdir() if not entry.name.startswith(begun)} <= ours


def _move_files(source: Path, target: Path, last: str) -> None:
    """Moves what is in a directory into one that is there, `last` at the end. An error in the middle leaves none of it there."""
    moved = []
    try:
        for name in sorted((entry.name for entry in source.iterdir()), key=lambda name: (name == last, name)):
            moved.append(target / name)
            shutil.move(source / name, target / name)
        source.rmdir()
    except BaseException:
        for place in moved:
            shutil.rmtree(place, ignore_errors=True)
            place.unlink(missing_ok=True)
        raise


def _upload(local: Path, target: str, last: str) -> None:
    files = sorted((p for p in local.rglob("*") if p.is_file()), key=lambda p: (p == local / last, p))
    if not files:
        return
    import tensorflow as tf  # Only here: what is written locally needs no TensorFlow.

    if tf.io.gfile.exists(f"{target}/{last}"):
        raise FileExistsError(f"the output directory must be absent or empty. Received: {target}")
    if tf.io.gfile.exists(target):
        tf.io.gfile.rmtree(target)
    for file in files:
        remote = f"{target}/{file.relative_to(local).as_posix()}"
        tf.io.gfile.makedirs(remote.rpartition("/")[0])
        tf.io.gfile.copy(str(file), remote)
