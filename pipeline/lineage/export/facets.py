"""OpenLineage's facets of runs, jobs and datasets, from what the metadata store has recorded.

A facet is left out where the store does not say what it would state. Facets of our own are named after the project, as
OpenLineage asks, and state OpenLineage's base facet as their schema.
"""

import re
from typing import Any

from ml_metadata.proto import metadata_store_pb2 as mlmd

from pipeline.execution.run_state import FAILURE, PROCESS
from pipeline.lineage.export.canonical import make_exact, to_text
from pipeline.lineage.export.identifiers import PROJECT_URI
from pipeline.lineage.export.places import make_uri
from pipeline.lineage.export.schemas import get_definition_url, get_facet_url
from pipeline.lineage.graph import Properties, get_properties
from pipeline.lineage.recorded import read_json

Facets = dict[str, dict[str, Any]]

_OWN = "lmFineTuning"
_COMMIT = re.compile(r"([0-9a-f]{40})(-dirty)?")
# Of an artifact's own content, the first that is known; other hashes are of what it was made from.
_VERSIONS = ("content_sha256", "tuned_hash")
_ROW_COUNTS = ("rows_kept", "examples", "num_examples")
_MODEL_TYPES = ("Model", "PushedModel")
_TFX_VERSION = "tfx_version"


def make_job_facets(kind: str, recorded: Properties) -> Facets:
    """Returns the facets of a job.

    Args:
        kind: `PIPELINE` or `NODE`.
        recorded: Of the run.
    """
    facets = {"jobType": _make("jobType", processingType="BATCH", integration="TFX", jobType=kind)}
    if match := _COMMIT.fullmatch(str(recorded.get("code_version", ""))):
        dirty = match[2] or recorded.get("code_dirty") == "true"
        # The store knows the commit and not where the repository is: the commit's own persistent identifier (SWHID) is a URI.
        url, version = f"swh:1:rev:{match[1]}", match[1] + ("-dirty" if dirty else "")
        facets["sourceCodeLocation"] = _make("sourceCodeLocation", type="git", url=url, version=version)
    return facets


def make_parent_facet(run_uuid: str, namespace: str, pipeline_name: str) -> Facets:
    """Returns the facet that says of which pipeline's run a node's run is a part."""
    job = {"namespace": namespace, "name": pipeline_name}
    return {"parent": _make("parent", run={"runId": run_uuid}, job=job)}


def make_record_facet(run_id: str, recorded: Properties) -> Facets:
    """Returns the facet with what was recorded of a run as a whole: configuration, code, packages; not its process."""
    told = {name: value for name, value in recorded.items() if name != PROCESS}
    return {f"{_OWN}_run": _make_own("Run", id=run_id, recorded=make_exact(told))}


def make_engine_facet(outputs: list[mlmd.Artifact]) -> Facets:
    """Returns the facet of the engine, whose version TFX leaves on every artifact."""
    versions = sorted({str(get_properties(a)[_TFX_VERSION]) for a in outputs if _TFX_VERSION in get_properties(a)})
    return {"processing_engine": _make("processing_engine", name="TFX", version=versions[-1])} if versions else {}


def make_execution_facets(execution: mlmd.Execution, component: str, state: str, reused: Properties | None) -> Facets:
    """Returns the parameters of an execution, and what the metadata store calls it.

    Args:
        execution: The execution.
        component: Its type.
        state: As the metadata store calls it.
        reused: Of a cached execution: the one whose outputs it took over, if that is known.
    """
    own: dict[str, Any] = {"executionId": execution.id, "component": component, "state": state}
    if reused:
        own["reusedFrom"] = reused
    facets = {f"{_OWN}_execution": _make_own("Run", **own)}
    recorded = {name: value for name, value in get_properties(execution).items() if name != FAILURE}
    if recorded:
        parameters = [{"key": name, "value": to_text(recorded[name])} for name in sorted(recorded)]
        facets["executionParameters"] = _make("executionParameters", parameters=parameters)
    return facets


def make_error_facet(execution: mlmd.Execution) -> Facets:
    """Returns the facet with the reason why an execution failed, if one was recorded."""
    reason = get_properties(execution).get(FAILURE)
    return {"errorMessage": _make("errorMessage", message=str(reason), programmingLanguage="Python")} if reason else {}


def make_place_facets(namespace: str, place: str, kind: str, version: str) -> Facets:
    """Returns the facets of a dataset.

    Args:
        namespace: The dataset's.
        place: As the store has it; empty if it has none (a preset of KerasHub's own).
        kind: `FILE` or `MODEL`.
        version: Hash or number that tells its content from another one; empty if unknown.
    """
    uri = make_uri(place)
    # A relative path is no URI: the store does not know from which folder the run was started.
    source = {"uri": uri} if "://" in uri else {}
    facets = {
        "dataSource": _make("dataSource", name=namespace, **source),
        "datasetType": _make("datasetType", datasetType=kind),
    }
    if version:
        facets["version"] = _make("version", datasetVersion=version)
    return facets


def make_artifact_facets(artifact: mlmd.Artifact, namespace: str, is_output: bool) -> Facets:
    """Returns the facets of an artifact's dataset; all that was recorded of it only where it is written."""
    recorded = get_properties(artifact)
    version = next((str(recorded[name]) for name in _VERSIONS if recorded.get(name)), "")
    kind = "MODEL" if artifact.type in _MODEL_TYPES else "FILE"
    own = {"properties": make_exact(recorded)} if is_output and recorded else {}
    return make_place_facets(namespace, artifact.uri, kind, version) | {
        f"{_OWN}_artifact": _make_own("Dataset", artifactId=artifact.id, type=artifact.type, **own)
    }


def make_output_facets(artifact: mlmd.Artifact) -> Facets:
    """Returns the statistics of what was written, as far as they were recorded."""
    recorded = get_properties(artifact)
    rows = next((recorded[name] for name in _ROW_COUNTS if isinstance(recorded.get(name), int)), None)
    counts = {"rowCount": rows, "size": recorded.get("content_bytes"), "fileCount": recorded.get("content_files")}
    known = {key: value for key, value in counts.items() if isinstance(value, int)}
    return {"outputStatistics": _make("outputStatistics", **known)} if known else {}


def make_data_facets(recorded: Properties) -> Facets:
    """Returns the statistics of the data that ExampleGen read.

    Args:
        recorded: Of the examples that it wrote.
    """
    read = recorded.get("rows_read")
    if read is None:
        return {}
    own = {
        name: recorded[key]
        for name, key in (
            ("read", "rows_read"),
            ("kept", "rows_kept"),
            ("quarantined", "rows_quarantined"),
            ("leftOut", "rows_left_out"),
        )
        if key in recorded
    }
    if recorded.get("rows_by_split"):
        own["bySplit"] = read_json(recorded["rows_by_split"], dict)
    return {
        "inputStatistics": _make("inputStatistics", rowCount=read),
        "dataQualityMetrics": _make("dataQualityMetrics", rowCount=read, columnMetrics={}),
        f"{_OWN}_rows": _make_own("InputDataset", **own),
    }


def _make(key: str, **fields: Any) -> dict[str, Any]:
    return {"_producer": PROJECT_URI, "_schemaURL": get_facet_url(key), **fields}


def _make_own(entity: str, **fields: Any) -> dict[str, Any]:
    return {"_producer": PROJECT_URI, "_schemaURL": get_definition_url(f"{entity}Facet"), **fields}
