"""What the metadata store is told about a run as a whole: configuration, code version, environment."""

import hashlib
import os
import subprocess
from datetime import UTC, datetime
from typing import Any

from ml_metadata.proto import metadata_store_pb2

from pipeline.code_hash import REPOSITORY_ROOT, hash_folder
from pipeline.execution.run_state import PROCESS, RUN_CONTEXT, describe_process

_CODE_FOLDERS = ("components", "configs", "pipeline")


def make_run_record(config: str, config_path: str, pipeline_name: str, runner: str = "local") -> dict[str, str]:
    """Returns the properties of the run's context; all text.

    Args:
        config: The configuration as YAML, defaults included.
        config_path: Where it was read from.
        pipeline_name: The pipeline that runs.
        runner: Kind of the runner.
    """
    # An image holds no repository; the command that builds it passes the commit on.
    commit = _git("rev-parse", "HEAD") or os.environ.get("CODE_VERSION")
    status = _git("status", "--porcelain")
    lock = REPOSITORY_ROOT / "requirements.txt"
    return {
        "config": config,
        "config_path": config_path,
        "pipeline_name": pipeline_name,
        "runner": runner,
        "code_version": commit or "unknown",
        "code_dirty": "unknown" if status is None else str(bool(status)).lower(),
        "code_sha256": hash_project_code(),
        "lock_sha256": hashlib.sha256(lock.read_bytes()).hexdigest() if lock.is_file() else "unknown",
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
        PROCESS: describe_process(),
    }


def hash_project_code() -> str:
    """Returns the SHA-256 of this project's own code; unlike a commit it also tells changes that are not committed."""
    parts = [hash_folder(REPOSITORY_ROOT / folder, "**/*.py") for folder in _CODE_FOLDERS]
    return hashlib.sha256("".join(parts).encode()).hexdigest()


def write_run_record(store: Any, run_id: str, record: dict[str, str]) -> None:
    """Puts the record on the context of the run. TFX makes that when it compiles for the run; before, it is made here.

    Args:
        store: An `ml_metadata.MetadataStore`.
        run_id: The run.
        record: See `make_run_record`.
    """
    context = store.get_context_by_type_and_name(RUN_CONTEXT, run_id)
    if context is None:
        # TFX adds to the type what it wants, and takes a context that is there.
        kind = metadata_store_pb2.ContextType(name=RUN_CONTEXT)
        type_id = store.put_context_type(kind, can_add_fields=True, can_omit_fields=True)
        context = metadata_store_pb2.Context(type_id=type_id, name=run_id)
    for name, value in record.items():
        context.custom_properties[name].CopyFrom(metadata_store_pb2.Value(string_value=value))
    store.put_contexts([context])


def _git(*arguments: str) -> str | None:
    """Returns what git prints in the repository of this code, or None where there is no git or no repository."""
    try:
        result = subprocess.run(
            ["git", *arguments], cwd=REPOSITORY_ROOT, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip()
