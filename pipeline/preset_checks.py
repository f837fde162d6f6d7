"""What can be said of a preset without loading it."""

import json
import re
from pathlib import Path

from components.options import nearest
from configs.load import Problem
from configs.schema import MethodSection

_HANDLES = ("kaggle://", "hf://", "modelscope://", "gs://")


def find_preset_problems(preset: str) -> list[str]:
    """Returns why `preset` cannot be a preset folder, a name or a handle; handles are not looked up."""
    if preset.startswith(_HANDLES):
        return []
    folder = Path(preset)
    if folder.is_dir():
        missing = [n for n in ("config.json",) if not (folder / n).is_file()]
        # KerasHub's own weights, in one file or in shards, or those of Hugging Face.
        if not any(list(folder.glob(pattern)) for pattern in ("*.weights.h5", "*.weights.json", "*.safetensors")):
            missing.append("model.weights.h5")
        return [f"must be a KerasHub preset folder. {preset} lacks {', '.join(missing)}."] if missing else []
    if "/" in preset or not re.fullmatch(r"[a-z0-9_.]+", preset):
        return [
            "must be an existing preset folder, the name of a KerasHub preset, or a handle that starts with hf:// or "
            f"kaggle://.{near_file(preset)}"
        ]
    return []


def read_backbone_number(preset: str, name: str) -> int | None:
    """Returns a number of the backbone's configuration; None where it has none or `preset` is no KerasHub folder."""
    try:
        value = json.loads((Path(preset) / "config.json").read_text(encoding="utf-8"))["config"].get(name)
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return None
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
