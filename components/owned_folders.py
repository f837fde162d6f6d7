"""Folders that belong to a process as long as it lives: a lock on a file in them tells, also when the process was killed."""

import fcntl
import os
from typing import IO, Any

OWNER = ".owner"


def own_folder(folder: str) -> IO[Any]:
    """Takes a local folder, until the file that is returned is closed or the process ends.

    Raises:
        BlockingIOError: Another one has it.
    """
    owner = open(os.path.join(folder, OWNER), "a")  # noqa: SIM115 - as long as the process lives
    try:
        fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner.close()
        raise
    return owner


def is_abandoned(folder: str) -> bool:
    """Returns whether no living process owns a local folder; False also where this account may not know."""
    try:
        with open(os.path.join(folder, OWNER)) as owner:
            fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
