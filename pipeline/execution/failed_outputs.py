"""What killed nodes have left of their outputs: TFX removes those of a node that fails, and cannot where its process is gone."""

import os
from collections.abc import Iterator
from typing import Any

from ml_metadata.metadata_store.metadata_store import ListOptions

from components import storage
from components.content import find_manifest


def remove_failed_outputs(store: Any, pipeline_name: str, artifacts_root: str) -> list[str]:
    """Removes the outputs of failed executions that were never published; returns their places.

    A run that goes on with such a node makes them anew. What has a manifest was published, by whichever store, and stays.

    Args:
        store: An `ml_metadata.MetadataStore`.
        pipeline_name: The pipeline.
        artifacts_root: The local folder of its artifacts.
    """
    query = f"last_known_state = FAILED AND contexts_p.type = 'pipeline' AND contexts_p.name = '{pipeline_name}'"
    failed = {str(execution.id) for execution in store.get_executions(ListOptions(filter_query=query))}
    removed = []
    for place in list(_list_outputs(artifacts_root)) if failed else ():
        if os.path.basename(place) in failed and not storage.exists(find_manifest(place)):
            storage.remove(place)
            removed.append(place)
    return removed


def _list_outputs(root: str) -> Iterator[str]:
    """Yields the folders `<node>/<output>/<execution>`."""
    folders = [root]
    for _ in range(3):
        folders = [
            entry.path
            for folder in folders
            if os.path.isdir(folder)
            for entry in os.scandir(folder)
            if entry.is_dir(follow_symlinks=False) and not entry.name.startswith(".")
        ]
    yield from sorted(folders)
