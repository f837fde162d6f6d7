"""Finds the examples that were made from a data file, however the file is named."""

import functools

from ml_metadata.metadata_store.metadata_store import ListOptions, MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

from pipeline.lineage.data_paths import contains_path, ends_like_path, is_same_path, was_read

DATA_PATH = "data_path"


def find_examples_from(store: MetadataStore, text: str) -> tuple[list[mlmd.Artifact], str]:
    """Returns the examples that were read from a file, the newest first, and in words what the file was to the pipeline.

    Args:
        store: An open store.
        text: A path as a run was given it, or from the current folder; one of a folder, a pattern or several; or the end of a path.
    """
    query = f"type = 'Examples' AND custom_properties.{DATA_PATH}.string_value != ''"
    artifacts = store.get_artifacts(ListOptions(filter_query=query))
    for matches, words in (
        (is_same_path, "a data file of the pipeline"),
        (contains_path, "one of the data files of the pipeline"),
        (ends_like_path, "a data file of the pipeline, by the end of its path"),
    ):
        # Many runs, few paths.
        fits = functools.cache(functools.partial(matches, text))
        found = [artifact for artifact in artifacts if fits(artifact.custom_properties[DATA_PATH].string_value)]
        if matches is contains_path:
            found = [artifact for artifact in found if was_read(artifact.uri, text)]
        if found:
            return sorted(found, key=lambda artifact: -artifact.id), words
    return [], ""
