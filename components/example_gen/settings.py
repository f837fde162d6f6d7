"""The settings that the component packs for its driver and executor."""

import json
from collections.abc import Mapping
from typing import Any

from google.protobuf import wrappers_pb2
from tfx.proto import example_gen_pb2
from tfx.types import standard_component_specs
from tfx.utils import proto_utils


def pack_custom_config(settings: Mapping[str, Any]) -> example_gen_pb2.CustomConfig:
    """Returns the settings as the message that TFX has for them."""
    config = example_gen_pb2.CustomConfig()
    config.custom_config.Pack(wrappers_pb2.StringValue(value=json.dumps(settings, sort_keys=True)))
    return config


def read_custom_config(exec_properties: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what the component packed: `data` (the section of the run) and `code_hash`."""
    config, text = example_gen_pb2.CustomConfig(), wrappers_pb2.StringValue()
    proto_utils.json_to_proto(exec_properties[standard_component_specs.CUSTOM_CONFIG_KEY], config)
    config.custom_config.Unpack(text)
    return json.loads(text.value)
