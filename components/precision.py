"""What `model.dtype: auto` means on this machine. Imports nothing heavy."""

from pathlib import Path

AUTO = "auto"
_CPUINFO = Path("/proc/cpuinfo")
# By the names that Linux gives them.
_FLAGS = {"amx_bf16", "avx512_bf16"}


def resolve_dtype(dtype: str) -> str:
    """The dtype or policy that layers compute in here.

    `auto` is `mixed_bfloat16` on processors that multiply matrices in bfloat16 by instructions of their own (AMX or
    AVX-512's), and float32 elsewhere: without them bfloat16 is converted there and back, and slower. Weights stay float32
    either way.

    Args:
        dtype: a run's `model.dtype`.
    """
    if dtype != AUTO:
        return dtype
    return "mixed_bfloat16" if multiplies_bfloat16() else "float32"


def multiplies_bfloat16() -> bool:
    """Whether the processor multiplies matrices in bfloat16; False where the system does not say."""
    try:
        return not _FLAGS.isdisjoint(_CPUINFO.read_text(encoding="utf-8", errors="replace").split())
    except OSError:
        return False
