"""What is fuzzed: functions that take any bytes and raise only if the product does what it must not.

A target lets through what the product says to its users (`UserError` and its kind, a record in quarantine, an exit code) and raises on
everything else: another exception, a record that is lost, a configuration that is not read back as it was written, control characters
on the console. They need no fuzzer: `test_cases.py` replays inputs of old, `fuzz.py` looks for new ones.
"""

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from .configuration import Configuration
from .lineage import Lineage
from .records import Records
from .store import Store
from .template import Template


class Target(Protocol):
    """One of `TARGETS`."""

    def __call__(self, data: bytes) -> None:
        """Tries an input."""

    def list_seeds(self) -> Iterator[bytes]:
        """Inputs to begin with."""

    def list_words(self) -> list[str]:
        """What an input is likely to hold."""


TARGETS: dict[str, Callable[[Path], Target]] = {
    "records": Records,
    "configuration": Configuration,
    "template": Template,
    "lineage": Lineage,
    "store": Store,
}


@contextlib.contextmanager
def open_target(name: str) -> Iterator[Target]:
    """Makes a target with a folder of its own, in memory where that is possible."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=memory if memory.is_dir() else None) as folder:
        yield TARGETS[name](Path(folder))
