"""Checkpoints of the base training: one file, whole or not at all, that knows which run it belongs to."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(kw_only=True)
class Progress:
    """What a checkpoint carries beside the weights.

    Attributes:
        run: Hash of the corpus and of the arguments that a resumed run must share with the one it goes on with.
        step: Optimizer steps taken.
        num_tokens: Tokens trained on.
        elapsed_seconds: Wall time in the training loop, over all starts.
        num_starts: How often the run was started.
    """

    run: str
    step: int = 0
    num_tokens: int = 0
    elapsed_seconds: float = 0.0
    num_starts: int = 0


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".new")
    temporary.write_bytes(content)
    temporary.replace(path)


def save_checkpoint(path: Path, variables: Sequence[Any], progress: Progress) -> None:
    """Save all `variables` and the progress in one file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name("new." + path.name)
    arrays: dict[str, Any] = {f"variable_{index:03d}": np.asarray(value) for index, value in enumerate(variables)}
    arrays["progress"] = json.dumps(vars(progress))
    np.savez(temporary, **arrays)
    temporary.replace(path)


def load_checkpoint(path: Path, variables: Sequence[Any], run: str) -> Progress:
    """Assign the saved values to `variables` and return the saved progress; a fresh one if there is no checkpoint.

    Raises:
        ValueError: If the checkpoint is that of another run.
    """
    if not path.exists():
        return Progress(run=run)
    with np.load(path) as saved:
        progress = Progress(**json.loads(str(saved["progress"])))
        if progress.run != run:
            raise ValueError(
                f"'{path}' is the checkpoint of a run with another corpus, seed, dtype or batch size. "
                "Delete its folder, or give this run another one with --work."
            )
        for index, variable in enumerate(variables):
            variable.assign(saved[f"variable_{index:03d}"])
    return progress
