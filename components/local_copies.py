"""Local copies of folders in a bucket, for libraries that read local files only."""

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

from components.errors import UserError
from components.presets.handles import HUB, resolve_handle

# What KerasHub downloads by itself.
_HANDLES = ("kaggle://",)
# Files of a preset that only its weights need.
_WEIGHTS = (".h5", ".safetensors", ".weights.json")


@contextlib.contextmanager
def local_copy(folder: str, without: Sequence[str] = ()) -> Iterator[str]:
    """Yields a folder in a bucket as a local one, which is gone at the end; a local one as it is.

    Args:
        folder: Local path or `scheme://` address that TensorFlow can read.
        without: Endings of files that are not copied.

    Raises:
        UserError: If there is no file at the address, or it cannot be read.
    """
    if "://" not in folder:
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="copy-") as local:
        _download(folder.rstrip("/"), local, tuple(without))
        yield local


@contextlib.contextmanager
def local_preset(preset: str, *, with_weights: bool = True) -> Iterator[str]:
    """Yields a preset for `from_preset`: one in a bucket as a local copy, which is gone at the end; others as they are.

    An `hf://` handle becomes the folder of its state on this machine; if there is none, it is downloaded.

    KerasHub copies files from a bucket too, but into one folder for `gs://a/b-c` and `gs://a/b/c`, with no notice of a preset that
    was replaced, nor of another process that is still writing a file.

    Args:
        preset: A name, a handle, a folder, or the address of a folder.
        with_weights: False for those who need the configuration and the tokenizer only.

    Raises:
        UserError: If there is no file at the address, or it cannot be read or downloaded.
    """
    if preset.startswith(HUB):
        yield resolve_handle(preset, with_weights=with_weights).folder
        return
    if preset.startswith(_HANDLES):
        yield preset
        return
    with local_copy(preset, () if with_weights else _WEIGHTS) as folder:
        yield folder


def _download(address: str, local: str, without: tuple[str, ...]) -> None:
    import tensorflow as tf  # Only here: what is local needs no TensorFlow.

    def fail(error: Any) -> None:
        raise UserError(
            f"the folder {address} must be there, with files that can be read. Received: {error}. Check the address, and whether "
            "this account may read the bucket."
        ) from (error if isinstance(error, Exception) else None)

    try:
        found = 0
        for folder, _, names in tf.io.gfile.walk(address, onerror=fail):
            below = folder.rstrip("/").removeprefix(address).lstrip("/")
            os.makedirs(os.path.join(local, below), exist_ok=True)
            for name in names:
                found += 1
                if not name.endswith(without):
                    tf.io.gfile.copy(f"{folder.rstrip('/')}/{name}", os.path.join(local, below, name))
    except tf.errors.OpError as error:
        fail(error)
    if not found:
        fail("nothing")
