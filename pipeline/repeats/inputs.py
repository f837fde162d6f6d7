"""What a run depends on, as hashes: by them it is known whether there is anything new to do. Imports no TFX."""

import hashlib
import json

from components.example_gen.source import hash_data, resolve_input
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
        "data": hash_data(
            config.data.path, resolve_input(config.data.path, config.data.window, config.data.format).files
        ),
        "config": hashlib.sha256(dump_config(config).encode()).hexdigest(),
        "code": str(record["code_sha256"]),
        "preset": hash_preset(config.model.preset)[0] or f"handle {config.model.preset}",
        "lock": str(record["lock_sha256"]),
    }
