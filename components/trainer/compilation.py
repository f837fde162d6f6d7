"""Whether XLA compiles the steps, and what a further compiled length costs.

Compiling takes a while, once for each length that batches are padded to; then steps are faster. Both are estimated here, as
positions that could be computed in the time. The figures behind it: GPT-2 with 124 M parameters and 12 layers on two cores
(tests/benchmarks/training_speed.py).
"""

import dataclasses
import math
import os
from pathlib import Path

import keras

# Building and compiling one step took 19 s.
_SECONDS_PER_LAYER = 1.6
# Of the time of a step without XLA, on a CPU without AVX-512.
_SAVED_SHARE = 0.25
# Each compiled length keeps 40 MB a block as well.
_MAX_LENGTHS_ON_CPU = 6
# What steps reach, in floating-point operations a second. That of accelerators is an order of magnitude, not a measurement.
_SPEED_OF_CORE = 5e10
_SPEED_OF_ACCELERATOR = 1e14
# A shorter training is not worth a rehearsal: it fails soon enough by itself.
_LONG_SECONDS = 180.0
_CPUINFO = Path("/proc/cpuinfo")


@dataclasses.dataclass(frozen=True)
class Compilation:
    """How steps are compiled.

    Attributes:
        jit_compile: whether XLA does it.
        positions_per_length: what could be computed in the time that one more length takes to compile; 0 without XLA.
        max_lengths: so many lengths at most.
    """

    jit_compile: bool
    positions_per_length: float
    max_lengths: float


def plan_compilation(
    jit_compile: bool | str,
    *,
    num_layers: int,
    num_frozen: int,
    num_trainable: int,
    num_positions: int,
    num_lengths: int = 1,
) -> Compilation:
    """Decides what `train.jit_compile: auto` means.

    Args:
        jit_compile: True, False or "auto": on GPUs and TPUs, and where it saves more time than it takes.
        num_layers: transformer blocks.
        num_frozen: parameters that are not trained.
        num_trainable: parameters that are trained.
        num_positions: that are trained on, all epochs together.
        num_lengths: that will be compiled at least.
    """
    if keras.backend.backend() == "jax":
        jit_compile = True  # it knows nothing else
    cost = _SECONDS_PER_LAYER * num_layers / estimate_seconds(num_frozen, num_trainable, 1)
    if jit_compile == "auto":
        # With AVX-512 TensorFlow's own kernels are so fast that XLA gains no more than its few lengths cost in padding.
        pays = not has_avx512() and _SAVED_SHARE * num_positions > cost * num_lengths
        jit_compile = has_accelerator() or pays
    if not jit_compile:
        return Compilation(False, 0.0, math.inf)
    return Compilation(True, cost, math.inf if has_accelerator() else _MAX_LENGTHS_ON_CPU)


def estimate_seconds(num_frozen: int, num_trainable: int, num_positions: int) -> float:
    """About how long the steps of a training take on the devices that are there: right within a factor of a few.

    Args:
        num_frozen: parameters that are not trained.
        num_trainable: parameters that are trained.
        num_positions: that are trained on, all epochs together.
    """
    # Forward, and backward for activations: 2 operations a parameter each; for a trained parameter 2 more.
    operations_per_position = 4 * num_frozen + 6 * num_trainable
    speed = _SPEED_OF_ACCELERATOR if has_accelerator() else _SPEED_OF_CORE * count_cores()
    return operations_per_position * num_positions / speed


def is_long(num_frozen: int, num_trainable: int, num_positions: int) -> bool:
    """Whether a training takes more than a few minutes, and so is worth a rehearsal.

    Args:
        num_frozen: parameters that are not trained.
        num_trainable: parameters that are trained.
        num_positions: that will be trained on, in all steps together.
    """
    return estimate_seconds(num_frozen, num_trainable, num_positions) > _LONG_SECONDS


def has_accelerator() -> bool:
    """Whether there is a GPU or TPU."""
    return any(not device.lower().startswith("cpu") for device in keras.distribution.list_devices())


def has_avx512() -> bool:
    """Whether the CPU has AVX-512; False where the system does not say."""
    try:
        return " avx512f " in _CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False


def count_cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0))
