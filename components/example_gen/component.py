"""InstructionExampleGen: the TFX component that reads instruction and chat records."""

import json
from typing import Any

from google.protobuf import any_pb2, wrappers_pb2
from tfx.components.example_gen.component import FileBasedExampleGen
from tfx.dsl.components.base import executor_spec
from tfx.proto import example_gen_pb2

from components.example_gen.executor import Executor
from components.example_gen.files import split_path
from components.example_gen.split import SPLITS

# What of the `data` section the records depend on; the rest must not make this node run again.
_CONFIG_KEYS = ("format", "columns", "slice_columns", "carry_columns", "splits", "max_bad_fraction", "quarantine_dir")
_ALL_RECORDS = "all"
_BUCKETS = 10_000


class InstructionExampleGen(FileBasedExampleGen):
    """Reads records from JSON Lines, JSON arrays, CSV or Parquet; writes raw examples in three splits.

    TFX's driver fingerprints the files (number, sizes, modification times in seconds); with it, the configuration and
    the hash of the code are the cache key.
    """

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(self, path: str, data_config: dict[str, Any], code_hash: str = ""):
        """Makes the component.

        Args:
            path: A file, a folder, or a glob of files in one folder (`data.path`).
            data_config: The `data` section of a run as a JSON-able dict, optionally with `quarantine_dir`: a folder that
                survives a failure and gets the bad records if they are too many.
            code_hash: Hash of the code that the node runs, so that an edit makes it run again.

        Raises:
            UserError: If the path is none of these.
        """
        base, pattern = split_path(path)
        data = {key: data_config[key] for key in _CONFIG_KEYS if data_config.get(key) is not None}
        text = json.dumps({"data": data, "code_hash": code_hash}, sort_keys=True)
        packed = any_pb2.Any()
        packed.Pack(wrappers_pb2.StringValue(value=text))
        splits = [
            example_gen_pb2.SplitConfig.Split(name=name, hash_buckets=max(1, round(data["splits"][name] * _BUCKETS)))
            for name in SPLITS
        ]
        super().__init__(
            input_base=base,
            input_config=example_gen_pb2.Input(
                splits=[example_gen_pb2.Input.Split(name=_ALL_RECORDS, pattern=pattern)]
            ),
            # For readers of the metadata; the executor takes the shares from `data_config`.
            output_config=example_gen_pb2.Output(split_config=example_gen_pb2.SplitConfig(splits=splits)),
            custom_config=example_gen_pb2.CustomConfig(custom_config=packed),
        )
