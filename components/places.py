"""Folders that a node works in beside its artifacts: their root is known when the run starts, and may be a bucket."""

import logging
import os
import tempfile
from pathlib import Path

# Stands in a compiled pipeline for the root that its run is given.
ROOT = "${root}"
_CLOUD_STORAGE = "gs://"
# Where Vertex AI mounts every bucket that the step's account may use.
_MOUNTED_BUCKETS = Path("/gcs")


def fill_root(path: str, root: str | None) -> str:
    """Returns the place with what `ROOT` stands for in this run: a local path, or an address in a bucket."""
    return path.replace(ROOT, root.rstrip("/")) if root else path


def find_folder(path: str, root: str | None) -> str:
    """Returns a local folder for what needs one, such as checkpoints.

    Args:
        path: The place; may start with `ROOT`.
        root: What `ROOT` stands for.

    Returns:
        The place itself if it is local; for one in a bucket its mounted folder, or, where no bucket is mounted, one of this
        container, which is gone with it.
    """
    place = fill_root(path, root)
    if "://" not in place:
        return place
    if place.startswith(_CLOUD_STORAGE) and _MOUNTED_BUCKETS.is_dir():
        return str(_MOUNTED_BUCKETS / place.removeprefix(_CLOUD_STORAGE))
    local = os.path.join(tempfile.gettempdir(), place.partition("://")[2])
    logging.warning(
        "%s is in a bucket that is not mounted here: %s is used, and is lost with this container.", place, local
    )
    return local
