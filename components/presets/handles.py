"""Models on the Hugging Face hub: `hf://owner/name`, or `hf://owner/name@revision` for one state of it.

A handle is made a local folder first, so that everybody else sees folders. The folder's name is the commit.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from components.addresses import hide_password
from components.errors import UserError
from components.presets.hugging_face import inspect_folder
from components.presets.side_files import TERMS, is_hugging_face_folder

HUB = "hf://"
_HANDLE = re.compile(r"hf://(?P<repository>[\w.-]+(/[\w.-]+)?)(@(?P<revision>[\w./-]+))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")
# What a preset or a folder in Hugging Face's layout consists of. Repositories hold the same weights in other forms as well, some of
# which are pickles.
_CONFIGURATION = ("*.json", "*.jinja", "*.model", "merges.txt", "vocab.txt", "assets/*", *TERMS)
_WEIGHTS = ("*.safetensors", "*.h5")
_ELSEWHERE = ("original/*", "onnx/*", "openvino/*", "coreml/*", "consolidated*.safetensors", "tf_model.h5")


@dataclass(frozen=True)
class Snapshot:
    """One state of a repository, on this machine.

    Attributes:
        folder: Its files.
        commit: Of the repository.
    """

    folder: str
    commit: str


def find_handle_problem(preset: str) -> str | None:
    """Returns why an `hf://` handle is none; None if it may be one."""
    if _HANDLE.fullmatch(preset):
        return None
    return f"must be hf://owner/name or hf://owner/name@revision. Received: {hide_password(preset)!r}."


def is_pinned(preset: str) -> bool:
    """Returns whether a handle names a commit, which never moves."""
    found = _HANDLE.fullmatch(preset)
    return found is not None and bool(_COMMIT.fullmatch(found["revision"] or ""))


def pin_handle(preset: str, commit: str) -> str:
    """Returns the handle of one commit of a handle's repository."""
    return f"{preset.partition('@')[0]}@{commit}"


def find_snapshot(preset: str, *, with_weights: bool = True) -> Snapshot | None:
    """Returns what this machine has of a handle, without asking the hub; None if that is not all.

    Args:
        preset: An `hf://` handle.
        with_weights: False for those who need the configuration and the tokenizer only.
    """
    try:
        found = _call_hub(preset, with_weights=with_weights, is_offline=True)
    except (OSError, ValueError):  # huggingface_hub's for what it does not find
        return None
    return found if _is_complete(found.folder, with_weights) else None


def fetch_snapshot(preset: str, *, with_weights: bool = True) -> Snapshot:
    """Asks the hub for a handle's newest state, and downloads what is missing of it.

    Without a network, what this machine has is taken, if it is all there. Access to models behind a licence needs HF_TOKEN.

    Args:
        preset: An `hf://` handle.
        with_weights: See `find_snapshot`.

    Raises:
        UserError: It cannot be had; the message says what to do.
    """
    if problem := find_handle_problem(preset):
        raise UserError(f"model.preset {problem}")
    try:
        return _call_hub(preset, with_weights=with_weights, is_offline=False)
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(
            f"model.preset: {preset} could not be downloaded ({type(error).__name__}: {error}). Check the name, the network and your access "
            "(gated models need HF_TOKEN, of an account that has accepted the licence), or download it elsewhere and give the "
            "folder's path."
        ) from error


def resolve_handle(preset: str, *, with_weights: bool = True) -> Snapshot:
    """Returns the folder of a handle: what this machine has, and only else what the hub has.

    So all nodes of a run see one state, the one that was newest when the run began.

    Args:
        preset: An `hf://` handle.
        with_weights: See `find_snapshot`.

    Raises:
        UserError: It cannot be had.
    """
    return find_snapshot(preset, with_weights=with_weights) or fetch_snapshot(preset, with_weights=with_weights)


def find_commit(preset: str) -> str:
    """Returns the commit that a handle names, or of its state on this machine; "" where neither is there, or for other presets."""
    if not preset.startswith(HUB) or find_handle_problem(preset):
        return ""
    if is_pinned(preset):
        return preset.rpartition("@")[2]
    found = find_snapshot(preset, with_weights=False)
    return found.commit if found else ""


def _call_hub(preset: str, *, with_weights: bool, is_offline: bool) -> Snapshot:
    import huggingface_hub  # Only here: it takes a third of a second, and most runs have a folder.

    handle = _HANDLE.fullmatch(preset)
    if handle is None:
        raise ValueError(find_handle_problem(preset))
    folder = huggingface_hub.snapshot_download(
        handle["repository"],
        revision=handle["revision"],
        allow_patterns=[*_CONFIGURATION, *(_WEIGHTS if with_weights else ())],
        ignore_patterns=list(_ELSEWHERE),
        local_files_only=is_offline,
    )
    return Snapshot(folder, os.path.basename(folder.rstrip("/")))


def _is_complete(folder: str, with_weights: bool) -> bool:
    root = Path(folder)
    if is_hugging_face_folder(root):
        return not with_weights or not inspect_folder(root).problems
    has_weights = any(True for pattern in ("*.weights.h5", "*.weights.json") for _ in root.glob(pattern))
    return (root / "config.json").is_file() and (has_weights or not with_weights)
