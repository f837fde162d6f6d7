"""InstructionExampleGen: the TFX component that reads instruction and chat records."""

from typing import Any

from tfx.components.example_gen.component import FileBasedExampleGen
from tfx.dsl.components.base import executor_spec
from tfx.proto import example_gen_pb2

from components.example_gen.driver import Driver
from components.example_gen.executor import Executor
from components.example_gen.settings import pack_custom_config
from components.example_gen.split import SPLITS

# What of the `data` section the records depend on; the rest must not make this node run again.
_CONFIG_KEYS = (
    "format",
    "columns",
    "slice_columns",
    "carry_columns",
    "where",
    "splits",
    "max_bad_fraction",
    "quarantine_dir",
    "window",
    "default_system",
    "section",
)
_ALL_RECORDS = "all"
# The driver puts the paths there that `data.path` means when the node runs.
_NOT_RESOLVED = "*"
_BUCKETS = 10_000


class InstructionExampleGen(FileBasedExampleGen):
    """Reads records from JSON Lines, JSON arrays, CSV or Parquet; writes raw examples in three splits.

    The driver finds the newest spans and fingerprints the files (their content, with their names); with it, the
    configuration and the hash of the code are the cache key.
    """

    DRIVER_CLASS = Driver
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(self, path: Any, data_config: dict[str, Any], code_hash: str = ""):
        """Makes the component.

        Args:
            path: A file, a folder, or a glob of files in one folder, with or without placeholders of spans (`data.path`); text, or
                a parameter of the run.
            data_config: The `data` section of a run as a JSON-able dict, optionally with `quarantine_dir`, a folder that
                survives a failure and gets the bad records if they are too many, `default_system`, the system text of chats that
                have none, and `section`, the name of the section, for messages.
            code_hash: Hash of the code that the node runs, so that an edit makes it run again.
        """
        data = {key: data_config[key] for key in _CONFIG_KEYS if data_config.get(key) is not None}
        splits = [
            example_gen_pb2.SplitConfig.Split(name=name, hash_buckets=max(1, round(data["splits"][name] * _BUCKETS)))
            for name in SPLITS
        ]
        super().__init__(
            input_base=path,
            input_config=example_gen_pb2.Input(
                splits=[example_gen_pb2.Input.Split(name=_ALL_RECORDS, pattern=_NOT_RESOLVED)]
            ),
            # For readers of the metadata; the executor takes the shares from `data_config`.
            output_config=example_gen_pb2.Output(split_config=example_gen_pb2.SplitConfig(splits=splits)),
            custom_config=pack_custom_config({"data": data, "code_hash": code_hash}),
        )
