"""Output directories that are whole or absent, on a local disk or in a bucket, and where in them a preset is."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

_PRESET_FOLDER = "preset"
# Handles that KerasHub resolves by itself.
_HUBS = ("hf://", "kaggle://", "modelscope://")


def find_preset(model_uri: str) -> str:
    """Returns the preset folder inside a Model artifact of the Trainer."""
    return os.path.join(model_uri, _PRESET_FOLDER)


def is_remote_folder(path: str) -> bool:
    """Returns whether a path is an address in a bucket, and not a hub's handle."""
    return "://" in path and not path.startswith(_HUBS)


@contextlib.contextmanager
def local_copy(folder: str) -> Iterator[str]:
    """Yields a local folder with the content of `folder`: itself, or for an address a copy that goes when the block ends."""
    if not is_remote_folder(folder):
        yield folder
        return
    import tensorflow as tf  # Only here: what is local needs no TensorFlow.

    root = folder.rstrip("/")
    with tempfile.TemporaryDirectory() as local:
        for directory, _, names in tf.io.gfile.walk(root):
            below = os.path.join(local, directory.rstrip("/")[len(root) :].strip("/"))
            os.makedirs(below, exist_ok=True)
            for name in names:
                tf.io.gfile.copy(f"{directory.rstrip('/')}/{name}", os.path.join(below, name), overwrite=True)
        yield local


@contextlib.contextmanager
def local_target(target: str, last: str) -> Iterator[str]:
    """Yields a local folder for what is to be at `target`: itself, or for an address one that is uploaded when the block ends well.

    Args:
        target: Local path or `scheme://` address.
        last: Name of the file that says that all is there; is uploaded last.
    """
    if not is_remote_folder(target):
        yield target
        return
    with tempfile.TemporaryDirectory() as local:
        yield local
        _upload(local, target, last)


@contextlib.contextmanager
def whole_directory(target: str, last: str = "") -> Iterator[str]:
    """Yields a local directory whose content appears at `target` when the block ends well, and not at all otherwise.

    Locally this is a rename of a sibling. A bucket has no rename of directories, so there the files are copied one by one,
    and `last`, the file that readers wait for, is copied after all others.

    Args:
        target: Local path or `scheme://` address. Its parents are made; it must be absent or an empty directory.
        last: Name of the file that says that the directory is complete.

    Raises:
        FileExistsError: If `target` exists and is not an empty directory.
    """
    if "://" in target:
        with tempfile.TemporaryDirectory() as local:
            yield local
            _upload(local, target, last)
        return
    path = Path(target)
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise FileExistsError(f"the output directory must be absent or empty. Received: {target}")
    path.parent.mkdir(parents=True, exist_ok=True)
    sibling = tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        yield sibling
        # mkdtemp makes it private to the user; a server of another user must be able to read the model.
        umask = os.umask(0)
        os.umask(umask)
        Path(sibling).chmod(0o777 & ~umask)
        Path(sibling).replace(path)
    except BaseException:
        shutil.rmtree(sibling, ignore_errors=True)
        raise


def _upload(local: str, target: str, last: str) -> None:
    import tensorflow as tf  # Only here: what is written locally needs no TensorFlow.

    if tf.io.gfile.exists(target) and tf.io.gfile.listdir(target):
        raise FileExistsError(f"the output directory must be absent or empty. Received: {target}")
    files = sorted((p for p in Path(local).rglob("*") if p.is_file()), key=lambda p: (p.name == last, p))
    for file in files:
        remote = f"{target.rstrip('/')}/{file.relative_to(local).as_posix()}"
        tf.io.gfile.makedirs(remote.rsplit("/", 1)[0])
        tf.io.gfile.copy(str(file), remote)
