"""Which data a run has read, and by how many rows they differ from those before. Imports no TFX."""

import json
from typing import Any

from ml_metadata.metadata_store.metadata_store import ListOptions, OrderByField
from ml_metadata.proto import metadata_store_pb2

from pipeline.execution.run_state import RUN_CONTEXT, NodeState
from pipeline.execution.store_lock import lock_store
from pipeline.lineage.recorded import read_json
from pipeline.metadata_connection import ConnectionConfig, open_writable_store
from pipeline.repeats.inputs import INPUTS

# Custom property of a run; below 0 if rows went. It is none of the examples: whatever changes on an artifact changes the cache
# key of all that reads it.
NUM_GAINED = "num_rows_gained"
_NODE = "ExampleGen"
_ROWS = "rows_read"
# What else a person should know of data that were read.
_TOLD = {
    "columns_dropped": "columns that are not used",
    "links_out": "links to files elsewhere",
    "files_left_out": "not read",
}


def tell_growth(connection: ConnectionConfig, pipeline_name: str, run_id: str, state: NodeState) -> str:
    """Compares the rows that ExampleGen has read with the last ones, records the difference on the run, and says it.

    Args:
        connection: The metadata store.
        pipeline_name: The pipeline.
        run_id: The run.
        state: A node that has ended.

    Returns:
        E.g. `6,400 rows, 1,000 more than before`; "" for another node, and for data that are no news: from the cache.
    """
    if state.node_id != _NODE:
        return ""
    (examples,) = state.outputs["examples"]
    with lock_store(connection):
        store = open_writable_store(connection)
        correct_data(store, run_id, examples)
        if state.cached:
            return ""
        record_growth(store, pipeline_name, run_id, examples)
        growth = read_growth(store, run_id)
    recorded = dict(examples.custom_properties)  # reading one that is not there would make it
    rows = [f"{_count(examples):,} rows"]
    if "rows_left_out" in recorded:
        rows.append(f"of them {recorded['rows_left_out'].int_value:,} left out by data.where")
    told = [", ".join(filter(None, (*rows, growth)))]
    for name, words in _TOLD.items():
        if name in recorded:
            told.append(f"{words}: {recorded[name].string_value}")
    return "; ".join(told)


def correct_data(store: Any, run_id: str, examples: metadata_store_pb2.Artifact) -> None:
    """Makes a run's record name the data that were read, where they were replaced after the run had begun.

    Args:
        store: An `ml_metadata.MetadataStore`.
        run_id: The run.
        examples: What its ExampleGen has written, or taken from the cache.
    """
    context = store.get_context_by_type_and_name(RUN_CONTEXT, run_id)
    if context is None or INPUTS not in context.custom_properties:
        return
    inputs = read_json(context.custom_properties[INPUTS].string_value, dict)
    if "data_sha256" not in examples.custom_properties:
        return
    read = examples.custom_properties["data_sha256"].string_value
    if inputs and inputs.get("data") != read:
        context.custom_properties[INPUTS].string_value = json.dumps(inputs | {"data": read}, sort_keys=True)
        store.put_contexts([context])


def record_growth(store: Any, pipeline_name: str, run_id: str, examples: metadata_store_pb2.Artifact) -> None:
    """Puts on a run how many rows its data have more than the newest others of the pipeline; nothing if there are none before.

    Args:
        store: An `ml_metadata.MetadataStore`.
        pipeline_name: The pipeline.
        run_id: The run; its context must be there.
        examples: What its ExampleGen has written.
    """
    # A failed ExampleGen leaves examples too, which are not LIVE.
    query = (
        f"type = 'Examples' AND state = LIVE AND contexts_p.type = 'pipeline' AND contexts_p.name = '{pipeline_name}' "
        f"AND contexts_n.type = 'node' AND contexts_n.name = '{pipeline_name}.{_NODE}' AND id < {examples.id}"
    )
    options = ListOptions(filter_query=query, order_by=OrderByField.ID, is_asc=False, limit=1)
    earlier = store.get_artifacts(options)
    if earlier:
        context = store.get_context_by_type_and_name(RUN_CONTEXT, run_id)
        context.custom_properties[NUM_GAINED].int_value = _count(examples) - _count(earlier[0])
        store.put_contexts([context])


def read_growth(store: Any, run_id: str) -> str:
    """Says by how many rows the data of a run differ from those before; "" if that is not recorded, see `record_growth`."""
    context = store.get_context_by_type_and_name(RUN_CONTEXT, run_id)
    if context is None or NUM_GAINED not in context.custom_properties:
        return ""
    gained = context.custom_properties[NUM_GAINED].int_value
    if not gained:
        return "as many as before"
    return f"{abs(gained):,} {'more' if gained > 0 else 'fewer'} than before"


def _count(examples: metadata_store_pb2.Artifact) -> int:
    return examples.custom_properties[_ROWS].int_value
