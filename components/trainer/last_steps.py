"""What follows the last step of a training, up to the tuned preset on disk."""

import contextlib
import os
import resource
import sys
import time
from collections.abc import Iterator
from typing import Any

import keras_hub
from absl import logging

from components.trainer.adapter import save_adapter
from components.trainer.directories import find_preset
from components.trainer.model import hash_weights, save_preset


@contextlib.contextmanager
def doing(what: str) -> Iterator[None]:
    """Logs what something cost (`log_cost`), and notes on an exception what was being done, for whoever reports it (`list_doings`).

    Args:
        what: Completes "while", such as `merging the adapter`.
    """
    started = time.monotonic()
    try:
        yield
    except Exception as error:
        note_doing(error, what)
        raise
    log_cost(what, time.monotonic() - started)


def log_cost(what: str, seconds: float) -> None:
    """Logs how long something took, and the most memory that this process has held until then."""
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    logging.info("Time: %s took %.1f s; peak of memory so far %.2f GiB.", what, seconds, peak / 2**30)


def note_doing(error: BaseException, what: str) -> None:
    """Notes on an exception what was being done."""
    error.add_note(f"{_WHILE}{what}")


def list_doings(error: BaseException) -> list[str]:
    """Returns what was being done when an exception was raised, the innermost first."""
    notes = getattr(error, "__notes__", [])
    return [note.removeprefix(_WHILE) for note in notes if note.startswith(_WHILE)]


def write_tuned(
    model: keras_hub.models.CausalLM,
    method: Any,
    root: str,
    config: dict[str, Any],
    start: str,
    base_hash: str,
    dtype: str,
) -> dict[str, Any]:
    """Merges what was trained into the model's weights, and writes `preset/` and, where the method has one, `adapter/`.

    Args:
        model: The trained model. It is merged afterwards.
        method: The tuning method that was applied to it.
        root: The folder of the Model artifact.
        config: The run's sections, see `module.run_fn`.
        start: The preset that training started from.
        base_hash: Hash of its weights.
        dtype: In which the layers compute.

    Returns:
        Entries of the training record: `tuned_hash` and, with an adapter, `adapter_sha256`.
    """
    with doing("merging what was trained into the weights"):
        adapter = method.adapter_weights(model)
        method.merge(model)
    facts = {}
    if adapter:
        with doing("saving the adapter"):
            facts["adapter_sha256"] = save_adapter(
                os.path.join(root, "adapter"),
                adapter,
                method=config["method"],
                preset=start,
                base_hash=base_hash,
                dtype=dtype,
            )
    with doing("saving the tuned model as a preset"):
        save_preset(model, find_preset(root))
    with doing("hashing the tuned weights"):
        return facts | {"tuned_hash": hash_weights(model)}


_WHILE = "while "
