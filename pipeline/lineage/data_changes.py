"""Compares the data of two runs: files, hashes, rows by split."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ml_metadata.proto import metadata_store_pb2 as mlmd

from pipeline.lineage.changes import Change, compare
from pipeline.lineage.flatten import flatten
from pipeline.lineage.graph import get_properties
from pipeline.lineage.recorded import read_json
from pipeline.lineage.sides import Side

_MAIN = "ExampleGen"
_KEYS = ("data_path", "data_sha256", "span", "rows_read", "rows_kept", "rows_quarantined", "rows_left_out")
_INGEST_REPORT = "ingest_report.json"


def compare_data(left: Side, right: Side) -> Iterator[Change]:
    """Yields what differs, of every node that reads data."""
    found = [_find_examples(side) for side in (left, right)]
    for node in dict.fromkeys((*found[0], *found[1])):
        prefix = "" if node == _MAIN else f"{node}."
        described = [_describe(side[node], prefix) if node in side else {} for side in found]
        if all(described):
            yield from compare(*described)
        elif any(described) and all((left.executions, right.executions)):
            paths = [side.get(f"{prefix}data_path") for side in described]
            yield Change(key=f"{prefix}data_path", before=paths[0], after=paths[1])


def _find_examples(side: Side) -> dict[str, mlmd.Artifact]:
    """Returns raw examples by the node that read them."""
    return {
        node: side.graph.artifacts[i]
        for node, execution_id in side.executions.items()
        for i in side.graph.list_outputs(execution_id)
        if "data_sha256" in side.graph.artifacts[i].custom_properties
    }


def _describe(examples: mlmd.Artifact, prefix: str) -> dict[str, Any]:
    recorded = get_properties(examples)
    values = {key: recorded[key] for key in _KEYS if key in recorded}
    try:
        values |= flatten(read_json(recorded.get("rows_by_split"), dict), "rows")
        # Without the report the hash over all files still says that something differs.
        report = json.loads(Path(examples.uri, _INGEST_REPORT).read_text(encoding="utf-8"))
        if len(report["files"]) > 1:
            values |= {f"file {file['path']}": file["sha256"] for file in report["files"]}
        values |= flatten(report.get("quarantine_reasons") or {}, "quarantined")
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return {f"{prefix}{key}": value for key, value in values.items()}
