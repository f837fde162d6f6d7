"""What executions read and wrote, as OpenLineage's datasets: artifacts, and what the store knows only by name.

Data files, presets and pushed folders are no artifacts; their places are recorded on what was made from them.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from ml_metadata.proto import metadata_store_pb2 as mlmd

from pipeline.lineage.export import facets
from pipeline.lineage.export.places import is_built_in, name_dataset, name_preset
from pipeline.lineage.graph import Graph, Properties, get_properties

Dataset = dict[str, Any]

# By type of what was written: properties that name presets that were read, and those with the hash of what was read.
_PRESETS: dict[str, dict[str, tuple[str, ...]]] = {
    "Model": {"preset": ("base_hash", "preset_hash")},
    "Examples": {"base": (), "reference": ()},
}
# The same of what the executions themselves have recorded.
_OWN_PRESETS: dict[str, tuple[str, ...]] = {"preset": ("preset_hash",)}


def list_inputs(graph: Graph, execution_id: int) -> list[Dataset]:
    """Lists what an execution read, each once."""
    read = [graph.artifacts[i] for i in sorted(graph.inputs.get(execution_id, ()))]
    places = [artifact.uri for artifact in read if artifact.uri]
    found = [_make_artifact_dataset(artifact, is_output=False) for artifact in read if artifact.uri]
    for written in (graph.artifacts[i] for i in graph.list_outputs(execution_id)):
        recorded = get_properties(written)
        found += _list_data(recorded)
        found += _list_presets(recorded, _PRESETS.get(written.type, {}), places)
    found += _list_presets(get_properties(graph.executions[execution_id]), _OWN_PRESETS, places)
    return _drop_repeated(found)


def list_outputs(graph: Graph, execution_id: int) -> list[Dataset]:
    """Lists what an execution wrote, each once."""
    found = []
    for artifact in (graph.artifacts[i] for i in graph.list_outputs(execution_id)):
        if artifact.uri:
            written = _make_artifact_dataset(artifact, is_output=True)
            if statistics := facets.make_output_facets(artifact):
                written["outputFacets"] = statistics
            found.append(written)
        recorded = get_properties(artifact)
        if place := str(recorded.get("pushed_destination", "")):
            found.append(_make_dataset(name_dataset(place), place, "MODEL", str(recorded.get("pushed_version", ""))))
    return _drop_repeated(found)


def _list_data(recorded: Properties) -> Iterator[Dataset]:
    if place := str(recorded.get("data_path", "")):
        read = _make_dataset(name_dataset(place), place, "FILE", str(recorded.get("data_sha256", "")))
        if statistics := facets.make_data_facets(recorded):
            read["inputFacets"] = statistics
        yield read


def _list_presets(recorded: Properties, named: dict[str, tuple[str, ...]], read: list[str]) -> Iterator[Dataset]:
    for name, hashes in named.items():
        preset = str(recorded.get(name, ""))
        # A model that was trained in the run lies in an artifact, which is among the inputs itself.
        if not preset or any(preset.startswith(uri) for uri in read):
            continue
        # Where training went on from another model, the hash is that model's.
        known = hashes if recorded.get("started_from", preset) == preset else ()
        version = next((str(recorded[key]) for key in known if recorded.get(key)), "")
        yield _make_dataset(name_preset(preset), "" if is_built_in(preset) else preset, "MODEL", version)


def _make_artifact_dataset(artifact: mlmd.Artifact, is_output: bool) -> Dataset:
    namespace, name = name_dataset(artifact.uri)
    return {
        "namespace": namespace,
        "name": name,
        "facets": facets.make_artifact_facets(artifact, namespace, is_output),
    }


def _make_dataset(named: tuple[str, str], place: str, kind: str, version: str) -> Dataset:
    namespace, name = named
    return {
        "namespace": namespace,
        "name": name,
        "facets": facets.make_place_facets(namespace, place, kind, version),
    }


def _drop_repeated(datasets: Iterable[Dataset]) -> list[Dataset]:
    found: dict[tuple[str, str], Dataset] = {}
    for item in datasets:
        found.setdefault((item["namespace"], item["name"]), item)
    return list(found.values())
