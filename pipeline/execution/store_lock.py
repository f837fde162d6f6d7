"""One process at a time writes to a metadata store in a file."""

import contextlib
import fcntl
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from ml_metadata.proto import metadata_store_pb2

from pipeline.metadata_connection import ConnectionConfig

_depth = threading.local()


@contextlib.contextmanager
def lock_store(config: ConnectionConfig) -> Iterator[None]:
    """Holds the lock of an SQLite store; does nothing for a server, which has transactions of its own.

    ML Metadata gives up after a moment where another process is writing to the file: nodes that run side by side, and runs
    that share a store, wait here instead. The lock is a file beside the store, since SQLite's own locks on the store end as soon
    as this process closes any descriptor of it. A process that dies gives it back. The same thread may take it again.
    """
    if not (isinstance(config, metadata_store_pb2.ConnectionConfig) and config.HasField("sqlite")):
        yield
        return
    path = Path(f"{config.sqlite.filename_uri}.lock")
    held: set[Path] = _depth.__dict__.setdefault("held", set())
    if path in held:
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        held.add(path)
        yield
    finally:
        held.discard(path)
        os.close(descriptor)
