"""`train.fit: auto`: cuts steps into micro-batches that fit into memory, or says before training that none does."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import keras
import psutil
from absl import logging

from components.errors import UserError
from components.trainer.compilation import has_accelerator
from components.trainer.data import TokenDataset
from components.trainer.engine import Engine
from components.trainer.model import count_parameters

# On CPUs larger micro-batches are no faster. With GPT-2 of 124 M parameters (768 wide) and steps of 8 x 512 positions, LoRA took
# 12.9 s in micro-batches of 1,024 positions and 12.9 s in one of 4,096, in 3.7 and 10.7 GiB; full tuning 17.5 s in
# micro-batches of 512, 17.2 s of 1,024 and 16.1 s in one, in 5.8, 6.5 and 9.9 GiB.
_VALUES_ON_CPU = 1024 * 768
# Estimates are up to 15 % too low or too high: test_memory_peak.py.
_USABLE_SHARE = 0.85
_CGROUP = Path("/sys/fs/cgroup")


def cut_to_fit(
    engine: Engine,
    data: TokenDataset,
    width: int,
    memory_gib: float | None,
    rematerialize: Callable[[], None] | None,
) -> int | None:
    """Finds how many positions a micro-batch may have.

    Args:
        engine: not yet used.
        data: the training split; its `accumulation_steps` are the fewest cuts.
        width: of the model's hidden states.
        memory_gib: what the training may use besides what this process holds already; None: what is free.
        rematerialize: makes the model recompute activations, to find out whether that would fit; None: it does so already.

    Returns:
        `micro_batch_tokens` of the splits.

    Raises:
        UserError: not even one example at a time fits.
    """
    # What is trained has a gradient, sums of it and the optimizer's slots in memory as well: the more, the smaller the rest.
    share = count_parameters(engine.tuner.trainable_variables) / count_parameters(engine.tuner.weights)
    tokens = None if has_accelerator() else max(int(_VALUES_ON_CPU / width / (1 + share)), 1)
    free = measure_free_memory() if memory_gib is None else int(memory_gib * 2**30)
    if free is None or engine.num_replicas > 1:
        logging.info("fit: memory is not estimated for %d replicas on this backend's devices", engine.num_replicas)
        return tokens
    usable = free * _USABLE_SHARE
    while True:
        cuts, rows, length = dataclasses.replace(data, micro_batch_tokens=tokens).largest_shape
        needed = engine.estimate_memory(cuts, rows, length)
        logging.info(
            "fit: %d x %d positions at once need about %s, %s are free", rows, length, _show(needed), _show(free)
        )
        if needed <= usable:
            engine.reserve_memory(int(needed / _USABLE_SHARE))
            return tokens
        if rows == 1:
            break
        # In proportion, but at least halved; the loop looks again.
        tokens = max(length, int(min(usable / needed, 0.5) * rows * length))
    raise UserError(
        f"one example of {length} tokens at a time needs about {_show(needed)} of memory to train on, and {_show(free)} are "
        f"{'free' if memory_gib is None else 'allowed by train.memory_gib'}. {_advise(engine, cuts, length, usable, rematerialize)}"
    )


def _advise(engine: Engine, cuts: int, length: int, usable: float, rematerialize: Callable[[], None] | None) -> str:
    ways = []
    shorter = length
    while shorter >= 16:
        shorter //= 2
        if engine.estimate_memory(cuts, 1, shorter) <= usable:
            ways.append(f"text.max_length: {shorter}")
            break
    if rematerialize is not None:
        rematerialize()
        engine.forget_compiled()
        needed = engine.estimate_memory(cuts, 1, length)
        fits = "" if needed <= usable else ", which is not enough alone"
        ways.insert(0, f"train.rematerialize: true (about {_show(needed)}{fits})")
    if len(engine.tuner.trainable_variables) == len(engine.tuner.weights):
        ways.append("method: {name: lora}, which keeps no gradients of frozen weights")
    return f"What would help: {'; '.join(ways) or 'a smaller model or a machine with more memory'}."


def measure_free_memory() -> int | None:
    """Bytes that a training may still take on its device; None: the backend does not say."""
    if not has_accelerator():
        return min(psutil.virtual_memory().available, _read_cgroup())
    if keras.backend.backend() == "jax":
        import jax

        counts = jax.local_devices()[0].memory_stats() or {}
        if {"bytes_limit", "bytes_in_use"} <= set(counts):
            return counts["bytes_limit"] - counts["bytes_in_use"]
    return None


def _read_cgroup() -> float:
    """What a container's limit leaves; without a limit, infinity."""
    try:
        limit = int((_CGROUP / "memory.max").read_text())
        counts = dict(line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines())
        used = int((_CGROUP / "memory.current").read_text())
    except (OSError, ValueError):  # "max", or no such file
        return float("inf")
    return limit - used + int(counts.get("inactive_file", 0))


def _show(number: float) -> str:
    return f"{number / 2**30:.2f} GiB"
