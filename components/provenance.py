"""Which code, packages and machine something was made with. Imports nothing but the standard library."""

import functools
import hashlib
import os
import platform
import subprocess
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
_UNKNOWN = "unknown"
_GIT_SECONDS = 10


@functools.cache
def describe_code() -> dict[str, str]:
    """Returns `code_version` (the commit), `code_dirty` (`true`, `false` or `unknown`) and `lock_sha256` (of the packages)."""
    # An image holds no repository; the command that builds it passes the commit on.
    commit = (run_git("rev-parse", "HEAD") or b"").decode().strip() or os.environ.get("CODE_VERSION")
    status = run_git("status", "--porcelain")
    lock = _ROOT / "requirements.txt"
    return {
        "code_version": commit or _UNKNOWN,
        "code_dirty": _UNKNOWN if status is None else str(bool(status.strip())).lower(),
        "lock_sha256": hashlib.sha256(lock.read_bytes()).hexdigest() if lock.is_file() else _UNKNOWN,
    }


def describe_hardware() -> str:
    """Returns processor, cores that this process may use, and memory: `AMD EPYC 9B14 x 2, 15.6 GiB`."""
    name = _read_field(Path("/proc/cpuinfo"), "model name") or platform.processor() or platform.machine() or _UNKNOWN
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return f"{name} x {cores}, {memory:.1f} GiB"


def _read_field(path: Path, name: str) -> str:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    fields = (line.partition(":") for line in lines)
    return next((value.strip() for key, _, value in fields if key.strip() == name), "")


def run_git(*arguments: str) -> bytes | None:
    """Returns what git prints in the repository of this code, or None where there is no git, no repository, or an error."""
    try:
        done = subprocess.run(["git", *arguments], cwd=_ROOT, capture_output=True, timeout=_GIT_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout
