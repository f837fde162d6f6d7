"""What both halves of token_cleaning_parity.py name; needs neither stack."""

import shlex
import sys
from pathlib import Path

SCOPES = ("dataset", "sample")
MODELS = ("base", "reference")


def describe_command() -> str:
    """Returns the command that runs; of absolute paths the last two parts, as the rest is one machine's own."""
    words = ["/".join(Path(word).parts[-2:]) if Path(word).is_absolute() else word for word in sys.argv]
    return shlex.join(["python", *words])
