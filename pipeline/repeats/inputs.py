"""What a run depends on, as hashes: by them it is known whether there is anything new to do. Imports no TFX."""

import hashlib
import json
from collections.abc import Iterator

from components.content import hash_file
from components.errors import UserError
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
    "general": "the general text",
    "schema": "the schema of the data",
    "config": "the configuration",
    "code": "the code",
    "preset": "the preset",
    "models": "a model beside it (of token cleaning, or of a metric)",
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
    """Returns what a run depends on, by the names in `PARTS`; what it has none of is not there.

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
        **dict(_hash_what_may_lack(config)),
        "config": hashlib.sha256(dump_config(config).encode()).hexdigest(),
        "code": str(record["code_sha256"]),
        "preset": hash_preset(config.model.preset)[0] or f"handle {config.model.preset}",
        "lock": str(record["lock_sha256"]),
    }


def require_same(before: dict[str, str], now: dict[str, str], run_id: str) -> None:
    """Checks that a run that goes on reads what it was started with; its nodes that have finished have read that already.

    Data are left to ExampleGen, which has read them or will; configuration and code are compared with more to say of them.

    Args:
        before: See `hash_inputs`, of the run's record; empty if it is not known.
        now: Likewise, of today.
        run_id: The run.

    Raises:
        UserError: It does not.
    """
    known = PARTS if before else {}
    changed = [
        words
        for part, words in known.items()
        if part not in ("data", "config", "code") and before.get(part) != now.get(part)
    ]
    if changed:
        raise UserError(
            f"a run goes on only with what it was started with. Other in {run_id}: {', '.join(changed)}. Start a new run: what has not "
            "changed comes from the cache."
        )


def _hash_what_may_lack(config: RunConfig) -> Iterator[tuple[str, str]]:
    general, schema = config.evaluation.general, config.data.schema_path
    if general is not None:
        option = "evaluation.general.path"
        try:
            files = resolve_input(general.path, 1, general.format).files
        except UserError as error:
            raise UserError(f"{option}: {str(error).removeprefix('data.path: ')}") from error
        yield "general", hash_data(general.path, files, option)
    if schema is not None:
        try:
            yield "schema", hash_file(schema)
        except OSError as error:
            raise UserError(f"data.schema_path: the file must be there, and readable. Received: {error}.") from error
    presets = [
        config.token_cleaning.reference.preset,
        *(metric.model_dump().get("preset") for metric in config.evaluation.metrics),
    ]
    hashes = [hash_preset(preset)[0] for preset in presets if preset]
    if any(hashes):
        yield "models", hashlib.sha256("\n".join(hashes).encode()).hexdigest()
