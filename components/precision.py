"""What `model.dtype: auto` means on this machine. Imports nothing heavy."""

from pathlib import Path

AUTO = "auto"
_CPUINFO = Path("/proc/cpuinfo")


def resolve_dtype(dtype: str) -> str:
    """The dtype or policy that layers compute in here.

    `auto` is `mixed_bfloat16` on processors that multiply matrices in bfloat16 by instructions of their own (AMX), and float32
    elsewhere: without them bfloat16 is converted there and back, and slower. Weights stay float32 either way.

    Args:
        dtype: a run's `model.dtype`.
    """
    if dtype != AUTO:
        return dtype
    return "mixed_bfloat16" if has_amx() else "float32"


def has_amx() -> bool:
    """Whether the processor has AMX for bfloat16; False where the system does not say."""
    try:
        return "amx_bf16" in _CPUINFO.read_text(encoding="utf-8", errors="replace").split()
    except OSError:
        return False
