"""The training record: one JSON file in the model artifact that says how the model was made."""

import json
import math
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import keras

from components.provenance import describe_code, describe_hardware
from components.trainer.state import TrainState

RECORD_NAME = "training_record.json"
_PACKAGES = ("keras", "keras-hub", "tensorflow", "tfx", "numpy")


def make_record(state: TrainState, *, num_steps: int, steps_per_epoch: int, **facts: Any) -> dict[str, Any]:
    """Puts the numbers of a finished training together.

    Args:
        state: what the training loop returned.
        num_steps: steps that were planned.
        steps_per_epoch: of the training split.
        **facts: further entries as they are (method, preset, base_hash, parameter counts, seed).

    Returns:
        JSON-ready entries. Losses are means per target token in nats; `seconds` are those of training steps, with
        compilation and without evaluation; `padding_share` is that of the positions trained on.
    """
    return {
        **facts,
        "steps": state.step,
        "planned_steps": num_steps,
        "epochs": round(state.step / steps_per_epoch, 4),
        "eval_loss_before": state.eval_loss_before,
        "eval_loss_after": state.best_loss,
        "best_step": state.best_step,
        "tokens_seen": state.tokens_seen,
        "target_tokens_seen": state.target_tokens_seen,
        "padding_share": round(1 - state.tokens_seen / max(state.positions_seen, 1), 4),
        "seconds": round(state.seconds, 3),
        "tokens_per_second": round(state.tokens_seen / max(state.seconds, 1e-9), 1),
        "stopped_early": state.stopped_early,
        "resumed_from_step": state.resumed_from_step,
        "history": state.history,
        "backend": keras.backend.backend(),
        "device": _get_device(),
        # The process that trains says it: a custom job of Vertex AI has another machine, and maybe another image.
        **describe_code(),
        "hardware": describe_hardware(),
        "versions": {"python": platform.python_version()} | {name: metadata.version(name) for name in _PACKAGES},
    }


def write_record(record: dict[str, Any], directory: str | Path) -> Path:
    """Writes `training_record.json` whole or not at all.

    Raises:
        ValueError: a number is not finite (JSON has no such numbers).
    """
    path = Path(directory) / RECORD_NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(record, indent=2, sort_keys=True, allow_nan=False)
    temporary = path.with_suffix(".partial")
    temporary.write_text(text + "\n", encoding="utf-8")
    os.replace(temporary, path)
    return path


def get_scalars(record: dict[str, Any]) -> dict[str, int | float | str]:
    """The entries that metadata properties can hold; truth values as 0 and 1, whole losses stay floats."""
    scalars: dict[str, int | float | str] = {}
    for key, value in record.items():
        if isinstance(value, bool):
            scalars[key] = int(value)
        elif isinstance(value, int | float | str) and not (isinstance(value, float) and not math.isfinite(value)):
            scalars[key] = value
    method = record.get("method")
    if isinstance(method, dict):
        scalars["method"] = str(method.get("name", ""))
    return scalars


def _get_device() -> str:
    devices = keras.distribution.list_devices()
    return f"{devices[0]} x {len(devices)}" if len(devices) > 1 else str(devices[0])
