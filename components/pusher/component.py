"""Pusher that makes a model version visible only once it is whole."""

import logging
import os
from typing import Any

from tfx.components.pusher import component, executor
from tfx.dsl.components.base import executor_spec
from tfx.dsl.io import fileio
from tfx.proto import pusher_pb2
from tfx.types import artifact_utils
from tfx.utils import io_utils, proto_utils

from components.export.formats import HUGGING_FACE
from components.storage import is_remote

_LAST = "saved_model.pb"


class Executor(executor.Executor):
    """TFX's executor, which copies into the serving folder file by file, behind a rename.

    A server that watches the folder could otherwise load a version that is half there, and a crash would leave one. A bucket
    renames no folder: there each file is renamed, which its server does without sending it, and `saved_model.pb` comes last. A
    server that looks in that moment cannot load the version and tries again.

    A version is the SavedModel, and beside it the folder `hf` where the run asked for that format.
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
            _remove_interrupted(staging_root, serving_root)
            fileio.rmtree(staging_root)
        super().Do(input_dict, output_dict, staged)
        pushed = artifact_utils.get_single_instance(output_dict["pushed_model"])
        if pushed.get_int_custom_property("pushed"):
            version = pushed.get_string_custom_property("pushed_version")
            final = os.path.join(serving_root, version)
            incoming = os.path.join(staging_root, version)
            _add_formats(artifact_utils.get_single_uri(input_dict["model"]), (incoming, pushed.uri))
            if is_remote(serving_root):
                _rename_files(incoming, final)
            else:
                fileio.rename(incoming, final)
            fileio.rmtree(staging_root)
            pushed.set_string_custom_property("pushed_destination", final)


def _add_formats(model_uri: str, targets: tuple[str, ...]) -> None:
    """Copies what the run's `export.formats` asked for beside the SavedModel: only a blessed version of it may be served."""
    source = os.path.join(model_uri, HUGGING_FACE)
    if fileio.exists(source):
        for target in targets:
            io_utils.copy_dir(source, os.path.join(target, HUGGING_FACE))


def _rename_files(folder: str, target: str) -> None:
    """Renames every file of a folder in a bucket. An error in the middle leaves nothing at the target."""
    files = [os.path.join(parent, name) for parent, _, names in fileio.walk(folder) for name in names]
    names = sorted((file.removeprefix(f"{folder}/") for file in files), key=lambda name: (name == _LAST, name))
    try:
        for name in names:
            # No folder is made for them: a bucket needs none, and a server would take an empty one for a version.
            fileio.rename(os.path.join(folder, name), os.path.join(target, name))
    except BaseException:
        if fileio.exists(target):
            fileio.rmtree(target)
        raise


def _remove_interrupted(staging_root: str, serving_root: str) -> None:
    """Removes what a process that was killed between two files has left of its version."""
    for name in fileio.listdir(staging_root):
        folder = os.path.join(serving_root, name.rstrip("/"))
        if fileio.exists(folder) and not fileio.exists(os.path.join(folder, _LAST)):
            logging.warning("Removed %s, which was never pushed to its end.", folder)
            fileio.rmtree(folder)


class Pusher(component.Pusher):
    """Pushes a blessed model to a versioned folder."""

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)
