"""What the metadata store is told about a run as a whole: configuration, code version, environment."""

import hashlib
import json
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

from ml_metadata.proto import metadata_store_pb2

from components.presets.handles import find_commit
from components.provenance import describe_code, describe_hardware
from configs.load import dump_config
from configs.schema import RunConfig
from pipeline.code_hash import REPOSITORY_ROOT, hash_folder
from pipeline.execution.run_state import PROCESS, RUN_CONTEXT, describe_process

# JSON: the nodes that the run consists of. A run that has finished all of them is complete.
NODES = "nodes"
# The commit of a preset on a hub.
PRESET_REVISION = "preset_revision"

_STARTED_AT = "started_at"
_CODE_FOLDERS = ("components", "configs", "pipeline")

RunRecord = dict[str, str | int]


def make_run_record(config: str, config_path: str, pipeline_name: str, runner: str = "local") -> RunRecord:
    """Returns the properties of the run's context.

    Args:
        config: The configuration as YAML, defaults included.
        config_path: Where it was read from.
        pipeline_name: The pipeline that runs.
        runner: Kind of the runner.
    """
    return {
        "config": config,
        "config_path": config_path,
        "config_sha256": hashlib.sha256(config.encode()).hexdigest(),
        "pipeline_name": pipeline_name,
        "runner": runner,
        **describe_code(),
        "code_sha256": hash_project_code(),
        "hardware": describe_hardware(),
        _STARTED_AT: datetime.now(UTC).isoformat(timespec="seconds"),
        PROCESS: describe_process(),
    }


def make_training_record(config: RunConfig, config_path: str, runner: str = "local") -> RunRecord:
    """Returns `make_run_record` of a tuning, with what one looks for it by."""
    commit = find_commit(config.model.preset)
    return {
        **make_run_record(dump_config(config), config_path, config.pipeline.name, runner),
        "method": config.method.name,
        "preset": config.model.preset,
        **({PRESET_REVISION: commit} if commit else {}),
        "data_path": config.data.path,
        "seed": config.train.seed,
    }


def hash_project_code() -> str:
    """Returns the SHA-256 of this project's own code; unlike a commit it also tells changes that are not committed."""
    parts = [
        hash_folder(REPOSITORY_ROOT / folder, f"**/*{end}")
        for folder in _CODE_FOLDERS
        for end in (".py", ".json", ".pbtxt")
    ]
    return hashlib.sha256("".join(parts).encode()).hexdigest()


def write_run_record(store: Any, run_id: str, record: RunRecord, nodes: Collection[str] = ()) -> None:
    """Puts the record on the context of the run. TFX makes that when it compiles for the run; before, it is made here.

    Args:
        store: An `ml_metadata.MetadataStore`.
        run_id: The run.
        record: See `make_run_record`.
        nodes: The nodes that the run consists of; none for a run that is skipped.
    """
    context = store.get_context_by_type_and_name(RUN_CONTEXT, run_id)
    if context is None:
        # TFX adds to the type what it wants, and takes a context that is there.
        kind = metadata_store_pb2.ContextType(name=RUN_CONTEXT)
        type_id = store.put_context_type(kind, can_add_fields=True, can_omit_fields=True)
        context = metadata_store_pb2.Context(type_id=type_id, name=run_id)
    if _STARTED_AT in context.custom_properties:  # a run that goes on
        record = {name: value for name, value in record.items() if name != _STARTED_AT}
    set_record(context, record | ({NODES: json.dumps(list(nodes))} if nodes else {}))
    store.put_contexts([context])


def set_record(context: Any, record: RunRecord) -> None:
    """Sets a record's entries as custom properties: numbers as numbers."""
    for name, value in record.items():
        kind = "int_value" if isinstance(value, int) else "string_value"
        setattr(context.custom_properties[name], kind, value)
