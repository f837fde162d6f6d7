"""What a run depends on, as hashes: by them it is known whether there is anything new to do. Imports no TFX."""

import glob
import hashlib
import json
import os
from collections.abc import Iterator
from typing import IO, Any

from components.errors import UserError
from components.example_gen.files import split_path
from components.example_gen.spans import find_spans, has_placeholders
from configs.load import dump_config
from configs.schema import RunConfig
from pipeline.code_hash import hash_preset
from pipeline.execution.run_record import RunRecord, make_training_record

# Custom property of a run.
INPUTS = "inputs"
# The inputs in words.
PARTS = {
    "data": "the data",
    "config": "the configuration",
    "code": "the code",
    "preset": "the preset",
    "lock": "the packages",
}
_CHUNK_BYTES = 1 << 20


def make_record(config: RunConfig, config_path: str, runner: str = "local") -> RunRecord:
    """Returns what the store is told about the run as a whole, its inputs by their hashes included.

    Args:
        config: The run.
        config_path: Where it was read from.
        runner: Kind of the runner.

    Raises:
        UserError: If there is no data, or it cannot be read.
    """
    record = make_training_record(config, config_path, runner)
    return record | {INPUTS: json.dumps(hash_inputs(config, record), sort_keys=True)}


def hash_inputs(config: RunConfig, record: RunRecord) -> dict[str, str]:
    """Returns what a run depends on, by the names in `PARTS`.

    A preset that is a name, a handle or an address in a bucket counts by its name, as it does for the cache.

    Args:
        config: The run.
        record: See `make_run_record`.

    Raises:
        UserError: As `hash_data`.
    """
    return {
        "data": hash_data(config.data.path, config.data.window),
        "config": hashlib.sha256(dump_config(config).encode()).hexdigest(),
        "code": str(record["code_sha256"]),
        "preset": hash_preset(config.model.preset)[0] or f"handle {config.model.preset}",
        "lock": str(record["lock_sha256"]),
    }


def hash_data(path: str, window: int) -> str:
    """Returns the SHA-256 over names and contents of the data files that a path means now; all of them are read.

    Args:
        path: `data.path`: local, or an address that TensorFlow can read.
        window: How many spans.

    Raises:
        UserError: If there is no span, or a file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        for file in _list_files(path, window):
            content = hashlib.sha256()
            with _open(file) as stream:
                while chunk := stream.read(_CHUNK_BYTES):
                    content.update(chunk)
            digest.update(f"{os.path.basename(file)}\0".encode() + content.digest())
    except _get_read_error(path) as error:
        raise UserError(
            f"data.path: the files of {path} must be there, and readable for this account: by their content it is known "
            f"whether they have changed. Received: {error}."
        ) from error
    return digest.hexdigest()


def _list_files(path: str, window: int) -> Iterator[str]:
    find = _find_in_bucket if "://" in path else glob.glob
    for place in [span.path for span in find_spans(path, window, find)] if has_placeholders(path) else [path]:
        base, pattern = split_path(place)
        yield from sorted(file for file in find(f"{base.rstrip('/')}/{pattern}") if not _is_folder(file))


def _find_in_bucket(pattern: str) -> list[str]:
    import tensorflow as tf  # Only here and below: what is local needs no TensorFlow.

    return tf.io.gfile.glob(pattern)


def _is_folder(path: str) -> bool:
    if "://" not in path:
        return os.path.isdir(path)
    import tensorflow as tf

    return tf.io.gfile.isdir(path)


def _open(path: str) -> IO[Any]:
    if "://" not in path:
        return open(path, "rb")
    import tensorflow as tf

    return tf.io.gfile.GFile(path, "rb")


def _get_read_error(path: str) -> type[Exception]:
    if "://" not in path:
        return OSError
    import tensorflow as tf

    return tf.errors.OpError
