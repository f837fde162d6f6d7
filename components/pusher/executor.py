"""Executor of `Pusher`: a model version becomes visible only once it is whole."""

import os
from collections.abc import Mapping
from typing import Any

from tfx.components.pusher import executor
from tfx.dsl.io import fileio
from tfx.proto import pusher_pb2
from tfx.types import artifact_utils
from tfx.utils import io_utils, path_utils, proto_utils

from components import storage
from components.content import CONTENT_SHA256, compare_sizes, hash_file, read_manifest
from components.errors import UserError
from components.export.formats import HUGGING_FACE
from components.pusher import versions


class Executor(executor.Executor):
    """TFX's executor, which copies into the serving folder file by file, behind a check and a rename.

    A server that watches the folder could otherwise load a version that is half there, and a crash would leave one.

    A version is the SavedModel, beside it the folder `hf` where the run asked for that format, and in `assets.extra/push.json` what it was
    pushed by.
    """

    def Do(self, input_dict: dict[str, list], output_dict: dict[str, list], exec_properties: dict[str, Any]) -> None:  # noqa: N802
        """Pushes the model to `<serving folder>/<version>` if it is blessed.

        Raises:
            UserError: The copy is not the model that was evaluated. Nothing is pushed then.
        """
        pushed = artifact_utils.get_single_instance(output_dict["pushed_model"])
        if not self.CheckBlessing(input_dict):
            self._MarkNotPushed(pushed)
            return
        model = artifact_utils.get_single_instance(input_dict["model"])
        destination = pusher_pb2.PushDestination()
        proto_utils.json_to_proto(exec_properties["push_destination"], destination)
        serving_root = destination.filesystem.base_directory
        # By the execution's own folder a push that is made again after a kill knows the version that it had pushed.
        mark = {
            "model": model.uri,
            "model_sha256": model.get_string_custom_property(CONTENT_SHA256),
            "pushed_model": pushed.uri,
        }
        with versions.staging_folder(serving_root) as staging:
            destination.filesystem.base_directory = staging
            staged = {**exec_properties, "push_destination": proto_utils.proto_to_json(destination)}
            super().Do(input_dict, output_dict, staged)
            incoming = os.path.join(staging, pushed.get_string_custom_property("pushed_version"))
            _add_formats(model.uri, (incoming, pushed.uri))
            _check_copy(model, incoming)
            for target in (incoming, pushed.uri):
                versions.write_mark(target, mark)
            version = versions.place_version(serving_root, staging, incoming)
        pushed.set_string_custom_property("pushed_version", str(version))
        pushed.set_string_custom_property("pushed_destination", os.path.join(serving_root, str(version)))


def _add_formats(model_uri: str, targets: tuple[str, ...]) -> None:
    """Copies what the run's `export.formats` asked for beside the SavedModel: only a blessed version of it may be served."""
    source = os.path.join(model_uri, HUGGING_FACE)
    if fileio.exists(source):
        for target in targets:
            io_utils.copy_dir(source, os.path.join(target, HUGGING_FACE))


def _check_copy(model: Any, folder: str) -> None:
    """Checks that a copy has the files of the model, by their hashes where these were recorded when the model was made.

    Raises:
        UserError: It has not.
    """
    expected = _list_expected(model)
    found = {file.name: file.size for file in storage.list_files(folder)}
    problem = compare_sizes(found, {name: size for name, (size, _) in expected.items()}) or next(
        (
            f"{name} has other content"
            for name, (_, sha256) in sorted(expected.items())
            if sha256 and hash_file(storage.join(folder, name)) != sha256
        ),
        "",
    )
    if problem:
        raise UserError(
            f"a pushed version must be the model that was evaluated, {model.uri}, file by file. Received: {problem} in the copy. "
            "Nothing was pushed. `python -m pipeline lineage verify` says whether the model itself has changed; else copy again by "
            "running again."
        )


def _list_expected(model: Any) -> Mapping[str, tuple[int, str]]:
    """By name in a version: size and SHA-256, "" where only the model's folder as it is now can be asked."""
    saved_model = os.path.relpath(path_utils.serving_model_path(model.uri), model.uri).rstrip("/") + "/"
    recorded = read_manifest(model.uri, model.get_string_custom_property(CONTENT_SHA256))
    files = (
        [(file.name, file.size, file.sha256) for file in recorded]
        if recorded is not None
        else [(file.name, file.size, "") for file in storage.list_files(model.uri)]
    )
    expected = {}
    for name, size, sha256 in files:
        if name.startswith(saved_model):
            expected[name.removeprefix(saved_model)] = (size, sha256)
        elif name.startswith(f"{HUGGING_FACE}/"):
            expected[name] = (size, sha256)
    return expected
