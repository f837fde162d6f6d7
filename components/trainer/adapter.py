"""Adapter files: the few weights that a tuning method trained, with what is needed to put them back safely.

KerasHub names such weights by the index of their layer, so a file of weights alone would load into a wrong model without
a word. Here the configuration beside it records names, shapes, method, preset and the hash of the base weights.
"""

import hashlib
import importlib.metadata
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from components.errors import UserError
from components.local_copies import local_copy
from components.trainer.directories import whole_directory

WEIGHTS_FILE = "adapter_weights.npz"
CONFIG_FILE = "adapter_config.json"
_BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """An adapter read from disk.

    Attributes:
        weights: Arrays by name, in the data type in which they were saved.
        method: The tuning method's name and options.
        preset: The preset of the base model.
        base_hash: Hash of the base model's weights.
        dtype: The base model's data type.
        versions: Versions of the packages that wrote it.
    """

    weights: Mapping[str, np.ndarray] = field(repr=False)
    method: Mapping[str, Any]
    preset: str
    base_hash: str
    dtype: str
    versions: Mapping[str, str]

    def check_base(self, base_hash: str) -> None:
        """Checks that the adapter belongs to a base model.

        Raises:
            UserError: If it was trained on other weights.
        """
        if base_hash != self.base_hash:
            raise UserError(
                f"an adapter fits only the base weights that it was trained on: {self.preset!r} with hash "
                f"{self.base_hash}. Received a base with hash {base_hash}. Load that preset first."
            )

    def check_weights(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Checks that the adapter has exactly the weights that a model expects.

        Args:
            shapes: The expected shapes by name.

        Raises:
            UserError: If names are missing or extra, or shapes differ.
        """
        missing, extra = sorted(shapes.keys() - self.weights.keys()), sorted(self.weights.keys() - shapes.keys())
        wrong = [
            f"{name} {self.weights[name].shape} for {tuple(shape)}"
            for name, shape in sorted(shapes.items())
            if name in self.weights and self.weights[name].shape != tuple(shape)
        ]
        if missing or extra or wrong:
            raise UserError(
                "an adapter must have the weights that the method adds to the model, no more and no less. "
                f"Missing: {missing}. Extra: {extra}. Wrong shape: {wrong}. "
                f"Build the model with the adapter's own method: {dict(self.method)}."
            )


def save_adapter(
    directory: str,
    weights: Mapping[str, np.ndarray],
    method: Mapping[str, Any],
    preset: str,
    base_hash: str,
    dtype: str,
) -> str:
    """Writes an adapter, whole or not at all; returns the SHA-256 of its weights' file.

    Args:
        directory: Where to; absent or empty.
        weights: Arrays by name.
        method: The tuning method's name and options, as in the run's `method` section.
        preset: The preset of the base model.
        base_hash: Hash of the base model's weights.
        dtype: The base model's data type.

    Raises:
        FileExistsError: If `directory` holds something.
    """
    arrays = {name: np.asarray(value) for name, value in sorted(weights.items())}
    with whole_directory(directory, last=CONFIG_FILE) as local:
        path = Path(local) / WEIGHTS_FILE
        # By position: a weight's name may be none that `savez` accepts. The format knows no bfloat16: its bits are stored,
        # and the configuration says what they are.
        stored = [a.view(np.uint16) if a.dtype == _BFLOAT16 else a for a in arrays.values()]
        np.savez(path, *stored, allow_pickle=False)
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        config = {
            "method": dict(method),
            "preset": preset,
            "base_hash": base_hash,
            "dtype": dtype,
            "weights": {n: {"shape": list(a.shape), "dtype": a.dtype.name} for n, a in arrays.items()},
            "sha256": sha256,
            "versions": {p: importlib.metadata.version(p) for p in ("keras", "keras-hub", "numpy")},
        }
        (Path(local) / CONFIG_FILE).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    return sha256


def load_adapter(directory: str) -> Adapter:
    """Reads what `save_adapter` wrote. Whether it fits a model is for `Adapter.check_base` and `check_weights` to say.

    Args:
        directory: Local, or in a bucket.

    Raises:
        UserError: If a file is missing or damaged.
    """
    with local_copy(directory) as local:
        return _read(Path(local), directory)


def _read(root: Path, directory: str) -> Adapter:
    """Reads the adapter of `directory` from `root`, where it is now."""
    try:
        config = json.loads((root / CONFIG_FILE).read_text(encoding="utf-8"))
        expected = config["weights"]
        if hashlib.sha256((root / WEIGHTS_FILE).read_bytes()).hexdigest() != config["sha256"]:
            raise ValueError(f"{WEIGHTS_FILE} does not have the recorded SHA-256")
        with np.load(root / WEIGHTS_FILE, allow_pickle=False) as file:
            names = dict(zip(expected, file.files, strict=True))
            weights = {name: _restore(file[names[name]], expected[name]) for name in expected}
        kept = {name: config[name] for name in ("method", "preset", "base_hash", "dtype", "versions")}
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise UserError(
            f"an adapter directory must hold {CONFIG_FILE} and {WEIGHTS_FILE} as they were saved. "
            f"Received: {directory}: {type(error).__name__}: {error}. Take it from the Trainer's output again."
        ) from error
    return Adapter(weights=weights, **kept)


def _restore(stored: np.ndarray, expected: Mapping[str, Any]) -> np.ndarray:
    array = stored.view(_BFLOAT16) if expected["dtype"] == _BFLOAT16.name else stored
    if list(array.shape) != expected["shape"] or array.dtype.name != expected["dtype"]:
        raise ValueError(f"{array.dtype.name} {array.shape} instead of {expected['dtype']} {expected['shape']}")
    return array
