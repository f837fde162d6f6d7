"""Pusher that makes a model version visible only once it is whole."""

import os
from typing import Any

from tfx.components.pusher import component, executor
from tfx.dsl.components.base import executor_spec
from tfx.dsl.io import fileio
from tfx.proto import pusher_pb2
from tfx.types import artifact_utils
from tfx.utils import proto_utils


class Executor(executor.Executor):
    """TFX's executor, which copies into the serving folder file by file, behind a rename.

    A server that watches the folder could otherwise load a version that is half there, and a crash would leave one.
    """

    def Do(self, input_dict: dict[str, list], output_dict: dict[str, list], exec_properties: dict[str, Any]) -> None:  # noqa: N802
        """Pushes the model to `<serving folder>/<version>` if it is blessed."""
        destination = pusher_pb2.PushDestination()
        proto_utils.json_to_proto(exec_properties["push_destination"], destination)
        serving_root = destination.filesystem.base_directory
        # Not a number, so that TensorFlow Serving does not take it for a version.
        staging_root = os.path.join(serving_root, ".incoming")
        destination.filesystem.base_directory = staging_root
        staged = {**exec_properties, "push_destination": proto_utils.proto_to_json(destination)}
        if fileio.exists(staging_root):
            fileio.rmtree(staging_root)
        super().Do(input_dict, output_dict, staged)
        pushed = artifact_utils.get_single_instance(output_dict["pushed_model"])
        if pushed.get_int_custom_property("pushed"):
            version = pushed.get_string_custom_property("pushed_version")
            final = os.path.join(serving_root, version)
            fileio.rename(os.path.join(staging_root, version), final)
            fileio.rmtree(staging_root)
            pushed.set_string_custom_property("pushed_destination", final)


class Pusher(component.Pusher):
    """Pushes a blessed model to a versioned folder."""

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)
