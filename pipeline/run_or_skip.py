"""Whether a scheduled run has anything to do: its inputs against those of earlier blessed runs. Imports no TFX."""

import glob
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_metadata.metadata_store.metadata_store import ListOptions, OrderByField
from ml_metadata.proto import metadata_store_pb2

from components.example_gen.files import split_path
from components.example_gen.spans import find_spans, has_placeholders
from configs.load import dump_config
from configs.schema import RunConfig
from pipeline.code_hash import hash_preset
from pipeline.execution.run_record import RunRecord, set_record
from pipeline.execution.run_state import RUN_CONTEXT

# Custom properties of a run.
INPUTS = "inputs"
SKIPPED = "skipped"
SKIP_REASON = "skip_reason"
SAME_AS = "same_as_run"
_PARTS = {
    "data": "the data",
    "config": "the configuration",
    "code": "the code",
    "preset": "the preset",
    "lock": "the packages",
}


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Whether a run is needed.

    Attributes:
        same_as: The blessed run with the same inputs; None if the run is needed.
        reason: Why, in words.
    """

    same_as: str | None
    reason: str


def hash_inputs(config: RunConfig, record: RunRecord) -> dict[str, str]:
    """Returns what a run depends on, as hashes by part; a part that cannot be known here is empty.

    Args:
        config: The run.
        record: See `make_run_record`.
    """
    return {
        "data": hash_data(config.data.path, config.data.window),
        "config": hashlib.sha256(dump_config(config).encode()).hexdigest(),
        "code": str(record["code_sha256"]),
        "preset": hash_preset(config.model.preset)[0] or f"handle {config.model.preset}",
        "lock": str(record["lock_sha256"]),
    }


def hash_data(path: str, window: int) -> str:
    """Returns the SHA-256 over names and contents of the data files that a path means now; "" for a bucket."""
    if "://" in path:
        return ""
    digest = hashlib.sha256()
    for file in _list_files(path, window):
        digest.update(f"{file.name}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def _list_files(path: str, window: int) -> Iterator[Path]:
    paths = [span.path for span in find_spans(path, window, glob.glob)] if has_placeholders(path) else [path]
    for found in paths:
        base, pattern = split_path(found)
        yield from sorted(file for file in Path(base).glob(pattern) if file.is_file())


def decide(store: Any, pipeline_name: str, inputs: dict[str, str]) -> Decision:
    """Says whether a blessed run of the pipeline had the very same inputs.

    Args:
        store: An `ml_metadata.MetadataStore`.
        pipeline_name: The pipeline.
        inputs: See `hash_inputs`.
    """
    if unknown := [_PARTS[part] for part, value in inputs.items() if not value]:
        return Decision(same_as=None, reason=f"whether {' and '.join(unknown)} have changed cannot be known here")
    blessed = list(_list_blessed_runs(store, pipeline_name))
    if not blessed:
        return Decision(same_as=None, reason="no run of this pipeline was blessed before")
    for name, before in blessed:
        if before == inputs:
            reason = f"data, configuration, code, preset and packages are those of the blessed run {name}"
            return Decision(same_as=name, reason=reason)
    newest, before = blessed[0]
    changes = [words for part, words in _PARTS.items() if before.get(part) != inputs[part]]
    return Decision(same_as=None, reason=f"changed since the blessed run {newest}: {', '.join(changes)}")


def record_skipped(store: Any, run_id: str, record: RunRecord, decision: Decision) -> None:
    """Puts a run that was not needed into the store: a context without executions, with the reason."""
    type_id = store.get_context_type(RUN_CONTEXT).id
    context = metadata_store_pb2.Context(type_id=type_id, name=run_id)
    properties = record | {SKIPPED: "true", SKIP_REASON: decision.reason, SAME_AS: decision.same_as or ""}
    set_record(context, properties)
    store.put_contexts([context])


def _list_blessed_runs(store: Any, pipeline_name: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Yields name and inputs of the blessed runs, newest first."""
    query = f"type = '{RUN_CONTEXT}' AND custom_properties.pipeline_name.string_value = '{pipeline_name}'"
    options = ListOptions(filter_query=query, order_by=OrderByField.CREATE_TIME, is_asc=False, limit=1000)
    for context in store.get_contexts(options):
        inputs = context.custom_properties[INPUTS].string_value
        if inputs and not context.custom_properties[SKIPPED].string_value and _is_blessed(store, context.id):
            yield context.name, json.loads(inputs)


def _is_blessed(store: Any, context_id: int) -> bool:
    query = f"type = 'ModelBlessing' AND contexts_r.id = {context_id}"
    artifacts = store.get_artifacts(ListOptions(filter_query=query))
    return any(artifact.custom_properties["blessed"].int_value == 1 for artifact in artifacts)


def describe_growth(store: Any, pipeline_name: str, examples: metadata_store_pb2.Artifact) -> str:
    """Says by how many rows the data differ from the newest other data of the pipeline; "" if there are none before."""
    query = (
        f"type = 'Examples' AND contexts_p.type = 'pipeline' AND contexts_p.name = '{pipeline_name}' "
        f"AND contexts_n.type = 'node' AND contexts_n.name = '{pipeline_name}.ExampleGen' AND id < {examples.id}"
    )
    options = ListOptions(filter_query=query, order_by=OrderByField.CREATE_TIME, is_asc=False, limit=1)
    earlier = store.get_artifacts(options)
    if not earlier:
        return ""
    before, now = (artifact.custom_properties["rows_read"].int_value for artifact in (earlier[0], examples))
    if before == now:
        return "as many as before"
    return f"{abs(now - before):,} {'more' if now > before else 'fewer'} than before"
