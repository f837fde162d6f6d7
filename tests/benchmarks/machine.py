"""What a benchmark has run on. Standard library only, so that every environment can say it."""

import importlib.metadata
import os
import platform
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def describe_machine(packages: Iterable[str] = ()) -> dict[str, Any]:
    """Returns platform, CPU model, cores, memory in GiB, and the versions of Python and of packages.

    Args:
        packages: Names of distributions; those that are not installed are left out.
    """
    return {
        "platform": platform.platform(),
        "cpu": _read_field("/proc/cpuinfo", "model name") or platform.processor() or platform.machine(),
        "cores": _count_cores(),
        "memory_gib": _measure_memory_gib(),
        "python": platform.python_version(),
        "packages": {name: version for name in packages if (version := _find_version(name))},
    }


def _count_cores() -> int | None:
    # A container may use fewer cores than there are.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _measure_memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)
    except (AttributeError, OSError, ValueError):
        return None


def _read_field(path: str, name: str) -> str:
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == name), "")


def _find_version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
