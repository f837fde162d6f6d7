"""Places below a root: how they are compared, and what of them may be removed."""

import os
from pathlib import PurePosixPath

from components import storage

# The folders of a root whose content belongs to runs (see `pipeline.paths`); all others are left alone.
TOP_FOLDERS = ("artifacts", "serving", "checkpoints", "logs", "reports")
# `<node>/<output>/<execution>` below the folder of a pipeline.
_DEPTH_OF_ARTIFACT = 3


def normalize(place: str) -> str:
    """Returns a place in the one form in which two of them can be compared: absolute, without links."""
    return place.rstrip("/") if storage.is_remote(place) else os.path.realpath(place)


def shorten(place: str, root: str) -> str:
    """Returns a place from the root on, for people; one that is not below it as it is."""
    folder = root.rstrip("/") if storage.is_remote(root) else os.path.abspath(root)
    return place.removeprefix(f"{folder}/")


def find_pipeline(place: str, root: str) -> str | None:
    """Returns the pipeline in whose artifacts a place is; None for a place that a collection must not touch.

    Args:
        place: An artifact's URI.
        root: Of the runner.
    """
    parts = _split(place, root)
    return parts[0] if len(parts) > _DEPTH_OF_ARTIFACT and parts[2] != ".system" else None


def is_own_folder(place: str, root: str, top: str, pipeline: str) -> bool:
    """Returns whether a place is a folder of a pipeline, `<root>/<top>/<pipeline>/<name>`, as it is written, without a link below `top`.

    Names of pipelines and runs are those of the store, which somebody else may have written.
    """
    above = f"{storage.join(root, f'{top}/{pipeline}')}/"
    name = place.removeprefix(above)
    if not place.startswith(above) or any(part in ("", ".", "..") or "/" in part for part in (pipeline, name)):
        return False
    return normalize(place) == storage.join(normalize(storage.join(root, top)), f"{pipeline}/{name}")


def find_owner(place: str, root: str) -> str | None:
    """Returns the pipeline among whose artifacts, or working files of nodes, a place is; None if it is not plainly below them."""
    parts = _split(place, root)
    return parts[0] if len(parts) > _DEPTH_OF_ARTIFACT else None


def _split(place: str, root: str) -> tuple[str, ...]:
    """Returns the names of a place below `artifacts/`; none if it is elsewhere, or a link is on the way."""
    base = storage.join(normalize(root), "artifacts")
    # A link on the way leads out of `base`, or to another artifact.
    plain = place.rstrip("/") if storage.is_remote(place) else _resolve_root(place, root)
    if normalize(place) != plain or not plain.startswith(f"{base}/"):
        return ()
    parts = PurePosixPath(plain.removeprefix(f"{base}/")).parts
    return () if ".." in parts else parts


def _resolve_root(place: str, root: str) -> str:
    """Returns an absolute path with the links above the root resolved, and none below it."""
    path, above = os.path.abspath(place), os.path.abspath(root)
    return os.path.realpath(root) + path.removeprefix(above) if path.startswith(f"{above}/") else path
