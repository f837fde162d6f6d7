"""One process at a time writes to a metadata store in a file."""

import contextlib
import fcntl
import hashlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from ml_metadata.proto import metadata_store_pb2

from pipeline.execution.scratch import get_shared_folder
from pipeline.metadata_connection import ConnectionConfig

_depth = threading.local()


@contextlib.contextmanager
def lock_store(config: ConnectionConfig) -> Iterator[None]:
    """Holds the lock of a store; does nothing for ML Metadata's own server, which has transactions of its own.

    SQLite: ML Metadata gives up after a moment where another process is writing to the file: nodes that run side by side, and runs
    that share a store, wait here instead. The lock is a file beside the store, since SQLite's own locks on the store end as soon
    as this process closes any descriptor of it. MySQL and PostgreSQL: two processes that make the tables of an empty database, or
    the same type or context, disturb each other (PostgreSQL answers the second one with an internal error, behind which TFX cannot
    know that all is well); a file in the machine's folder of temporary files keeps the processes of one machine apart. A process that dies
    gives the lock back. The same thread may take it again.
    """
    path = _find_lock(config)
    if path is None:
        yield
        return
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


def _find_lock(config: ConnectionConfig) -> Path | None:
    if isinstance(config, metadata_store_pb2.MetadataStoreClientConfig):
        return None
    if config.HasField("sqlite"):
        return Path(f"{config.sqlite.filename_uri}.lock")
    server = config.postgresql if config.HasField("postgresql") else config.mysql
    database = config.postgresql.dbname or config.mysql.database
    place = hashlib.sha256(f"{server.host}\0{server.port}\0{database}".encode()).hexdigest()[:16]
    return Path(get_shared_folder(), f"mlmd-{os.getuid()}-{place}.lock")
