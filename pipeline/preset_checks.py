"""What can be said of a preset without loading it."""

import os
import re
from pathlib import Path
from typing import Any

from components.addresses import hide_password
from components.git_lfs import list_pointers
from components.options import nearest
from components.presets.families import find_family_problem, read_backbone_arguments
from components.presets.handles import HUB, find_handle_problem, find_snapshot
from components.presets.hugging_face import inspect_folder
from components.presets.side_files import SIDE_FOLDER, is_hugging_face_folder, read_json_object
from components.presets.weight_files import read_weights
from components.text.graph_rules import find_tokenizer_problems
from configs.load import Problem
from configs.schema import MethodSection

# Handles of hubs and buckets that are not looked up here, and those for which the lock has no client.
_HANDLES = ("kaggle://", "gs://")
_UNREADABLE = ("modelscope://", "s3://")


def find_preset_problems(preset: str, *, is_language_model: bool = True) -> list[str]:
    """Returns why `preset` cannot be a folder, a name or a handle.

    Handles are not looked up; of an `hf://` handle, what this machine has of it is checked.

    Args:
        preset: The preset.
        is_language_model: Whether it must be a causal language model.
    """
    if preset.startswith(HUB):
        if problem := find_handle_problem(preset):
            return [problem]
        snapshot = find_snapshot(preset, with_weights=False)
        if snapshot is None:
            return []
        # Without all of its weights it is downloaded further when the run begins.
        has_weights = find_snapshot(preset) is not None
        return _find_folder_problems(Path(snapshot.folder), preset, is_language_model, has_weights)
    if preset.startswith("kaggle://") and len(preset.split("/")) not in (6, 7):
        return [
            f"must be kaggle://owner/model/keras/variation, and maybe /version. Received: {hide_password(preset)!r}."
        ]
    if preset.startswith(_HANDLES):
        return []
    if preset.startswith(_UNREADABLE):
        return [
            f"must be an address that this project has a client for: hf://, kaggle:// or gs://. Received: {hide_password(preset)!r}. Download the folder, "
            "and name it."
        ]
    if preset.startswith("~"):
        return [f"must be a folder without `~`, which only shells read. Received: {preset!r}. Give the whole path."]
    folder = Path(preset)
    if os.path.isdir(preset):  # also of a name that is too long for one
        return _find_folder_problems(folder, preset, is_language_model)
    if "/" in preset or not re.fullmatch(r"[a-z0-9_.]+", preset):
        return [
            "must be an existing preset folder, the name of a KerasHub preset, or a handle that starts with hf:// or "
            f"kaggle://.{near_file(preset)}"
        ]
    return []


def _find_folder_problems(folder: Path, preset: str, is_language_model: bool, has_weights: bool = True) -> list[str]:
    if pointers := list(list_pointers(folder, ("assets", SIDE_FOLDER))):
        return [
            f"{preset}: {', '.join(pointers[:5])}{' and others' if len(pointers) > 5 else ''} must be the file itself, and is a pointer of Git "
            "LFS. Run `git lfs pull` in the folder."
        ]
    if is_hugging_face_folder(folder):
        if is_language_model:
            problems = [*inspect_folder(folder, with_weights=has_weights).problems, *find_tokenizer_problems(folder)]
        else:
            problems = list(read_weights(folder).problems) if has_weights else []
        return [f"{preset}: {problem}" for problem in problems]
    if not has_weights:
        return []
    if is_language_model and (problems := find_tokenizer_problems(folder)):
        return [f"{preset}: {problem}" for problem in problems]
    missing = [n for n in ("config.json",) if not (folder / n).is_file()]
    # KerasHub's own weights, in one file or in shards, or those of Hugging Face.
    if not any(list(folder.glob(pattern)) for pattern in ("*.weights.h5", "*.weights.json", "*.safetensors")):
        missing.append("model.weights.h5")
    return [f"must be a KerasHub preset folder. {preset} lacks {', '.join(missing)}."] if missing else []


def describe_preset(preset: str) -> str | None:
    """Returns what is known of a language model in Hugging Face's layout, in a sentence; None of other presets."""
    if preset.startswith(HUB):
        snapshot = find_snapshot(preset)
        if snapshot is None:
            return f"{preset} is not on this machine yet: it is checked when the run begins."
        folder, name = Path(snapshot.folder), f"{preset} (commit {snapshot.commit[:12]})"
    else:
        folder, name = Path(preset), preset
    if not is_hugging_face_folder(folder):
        return None
    report = inspect_folder(folder)
    whole, half = (_format_bytes(report.count_bytes(number)) for number in (4, 2))
    return (
        f"{name}: {report.title}, {report.num_parameters:,} parameters; the weights take {whole} of memory in float32, "
        f"{half} in bfloat16."
    )


def _format_bytes(number: int) -> str:
    return f"{number / 2**30:,.2f} GiB" if number >= 2**28 else f"{number / 2**20:,.2f} MiB"


def read_backbone_number(preset: str, name: str) -> int | None:
    """Returns a number of the backbone's configuration; None where it has none or `preset` is no folder that says it."""
    folder = Path(preset)
    if preset.startswith(HUB):
        snapshot = find_snapshot(preset, with_weights=False)
        if snapshot is None:
            return None
        folder = Path(snapshot.folder)
    config = read_json_object(folder / "config.json") or {}
    arguments: Any = config.get("config")
    if is_hugging_face_folder(folder):
        arguments = {} if find_family_problem(config) else read_backbone_arguments(config)[0]
    value = arguments.get(name) if isinstance(arguments, dict) else None
    return value if isinstance(value, int) else None


def find_precision_problems(dtype: str, method: MethodSection | None, prefix: str = "") -> list[Problem]:
    """Returns what the optimizer would refuse (see `components/trainer/optimizer.py`).

    Args:
        dtype: The run's `model.dtype`.
        method: A tuning method; None if it is not valid itself.
        prefix: The key that `method` is below.
    """
    if method is not None and method.name == "full" and dtype == "bfloat16":
        where = f" ({prefix}method)" if prefix else ""
        return [
            Problem(
                "model.dtype",
                f"must be float32 or a mixed policy for the method `full`{where}: in bfloat16, updates of usual size are "
                "rounded away. Received: 'bfloat16'. Did you mean `mixed_bfloat16`?",
            )
        ]
    return []


def near_file(path: str) -> str:
    """Returns what was received and, where there is one, the most similar name in the same folder."""
    parent = Path(path).parent
    near = nearest(Path(path).name, [p.name for p in parent.iterdir()]) if parent.is_dir() else ""
    return f" Received: {path!r}; there is no such file or folder.{near}"
