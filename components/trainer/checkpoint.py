"""Checkpoints of a training: written whole or not at all, and resumed exactly."""

import contextlib
import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
from absl import logging

from components.errors import UserError
from components.owned_folders import own_folder
from components.trainer.engine import Engine
from components.trainer.model import list_generators
from components.trainer.state import TrainState


def make_fingerprint(parts: Mapping[str, Any]) -> str:
    """sha256 of what a training depends on (configuration, code, data, base weights): hex digits."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


class Checkpoints:
    """The checkpoints of one training, below `<root>/<first 16 digits of its fingerprint>`.

    A file holds what changes while training: trainable weights, optimizer (moments, accumulated gradients, count),
    generators of dropout, the best weights so far, and the `TrainState`. Frozen weights come from the preset again.
    Weights that change without being trained (moving averages of batch normalisation) do not occur in causal LMs.
    """

    def __init__(self, root: str | Path, fingerprint: str, keep: int = 2, writes: bool = True) -> None:
        """Names the folder; nothing is written yet.

        Args:
            root: folder of all trainings' checkpoints.
            fingerprint: see `make_fingerprint`.
            keep: how many complete checkpoints stay; more than one, so that a damaged one is no loss.
            writes: whether this process writes them; of several workers, one does, and all read.
        """
        self.directory = Path(root) / fingerprint[:16]
        self.fingerprint = fingerprint
        self.keep = keep
        self.writes = writes

    @contextlib.contextmanager
    def claimed(self) -> Iterator[None]:
        """Keeps out another run with the same settings, which would write the same files.

        Raises:
            UserError: There is one.
        """
        if not self.writes:
            yield
            return
        self.directory.mkdir(parents=True, exist_ok=True)
        try:
            owner = own_folder(str(self.directory))
        except BlockingIOError:
            raise UserError(
                "of runs with the same settings, data and code, one at a time may train. Received: another process has the checkpoints in "
                f"{self.directory}. Wait until it has ended, and run again: what it has trained is then taken from the cache."
            ) from None
        with owner:
            yield

    def save(self, engine: Engine, state: TrainState) -> None:
        """Writes a checkpoint after `state.step` steps and removes old ones."""
        if not self.writes:
            return
        self.directory.mkdir(parents=True, exist_ok=True)
        arrays = {name: _encode(keras.ops.convert_to_numpy(v)) for name, v in _changing_variables(engine).items()}
        arrays |= {f"best/{i:05d}": _encode(value) for i, value in enumerate(state.best_weights or [])}
        header = {"fingerprint": self.fingerprint, "state": state.to_dict()}
        arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
        path = self.directory / f"step_{state.step:08d}.npz"
        temporary = path.with_suffix(".partial")
        with temporary.open("wb") as stream:
            np.savez(stream, allow_pickle=False, **arrays)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
        _sync_directory(self.directory)  # else the new name may be lost with the power
        for old in self._paths()[self.keep :]:
            old.unlink(missing_ok=True)

    def restore(self, engine: Engine) -> TrainState | None:
        """Sets an engine's tuner and optimizer to the newest complete checkpoint.

        Returns:
            Where the training stood, or None if there is no usable checkpoint; all is then as it was.
        """
        for path in self._paths():
            try:
                with np.load(path, allow_pickle=False) as archive:
                    arrays = {name: archive[name] for name in archive.files}  # reading checks each part's CRC
                header = json.loads(arrays.pop("header").tobytes())
            except OSError as error:
                logging.warning("Checkpoint %s cannot be read (%s); trying an older one.", path, error)
                continue
            except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
                logging.warning("Checkpoint %s is damaged (%s); trying an older one.", path, error)
                if self.writes:  # else it would count among those that are kept
                    with contextlib.suppress(OSError):
                        path.replace(path.with_suffix(".damaged"))
                continue
            if header["fingerprint"] != self.fingerprint:
                logging.warning("Checkpoint %s belongs to another training; it is not used.", path)
                continue
            best = [name for name in sorted(arrays) if name.startswith("best/")]
            variables = _changing_variables(engine)
            if set(arrays) - set(best) != set(variables):
                logging.warning("Checkpoint %s was written with another version of Keras; it is not used.", path)
                continue
            for name, variable in variables.items():
                variable.assign(_decode(arrays[name], variable.dtype))
            state = TrainState.from_dict(header["state"])
            if best:  # none before the first evaluation
                pairs = zip(best, engine.tuner.trainable_variables, strict=True)
                state.best_weights = [_decode(arrays[name], variable.dtype) for name, variable in pairs]
            state.resumed_from_step = state.step
            return state
        return None

    def _paths(self) -> list[Path]:
        return sorted(self.directory.glob("step_*.npz"), reverse=True)  # newest first


def remove_checkpoints(directory: str) -> None:
    """Removes the checkpoints of a training that has ended, unless another one has begun to write there."""
    if not directory:
        return
    with contextlib.suppress(FileNotFoundError, BlockingIOError), own_folder(directory):
        shutil.rmtree(directory, ignore_errors=True)


def _changing_variables(engine: Engine) -> dict[str, Any]:
    """Variables that training changes, by a name that is the same in every process."""
    tuner = engine.tuner
    groups = {
        "trainable": tuner.trainable_variables,
        "optimizer": engine.optimizer.variables,
        "generator": list_generators(tuner),
    }
    return {f"{group}/{i:05d}": v for group, variables in groups.items() for i, v in enumerate(variables)}


def _encode(value: np.ndarray) -> np.ndarray:
    """NumPy's file format knows no bfloat16: its bits are kept as uint16."""
    return value.view(np.uint16) if value.dtype.name == "bfloat16" else value


def _decode(value: np.ndarray, dtype: str) -> np.ndarray:
    return value.view("bfloat16") if dtype == "bfloat16" else value


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
