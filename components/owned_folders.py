"""Folders that belong to a process as long as it lives: a lock on a file in them tells, also when the process was killed."""

import fcntl
import os
import stat
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
        # What somebody else may have put there is neither waited for nor followed.
        owner = os.open(os.path.join(folder, OWNER), os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    try:
        status = os.fstat(owner)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
            return False
        fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(owner)
    return True
