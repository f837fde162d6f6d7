"""One process at a time runs a run: two that go on with it would write the same outputs."""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from components.errors import UserError

_LOCK = ".lock"


@contextlib.contextmanager
def hold_run(folder: Path, run_id: str) -> Iterator[None]:
    """Holds a run of this machine, or of a shared file system, as long as this process lives.

    Args:
        folder: Of the run alone, such as that of its logs; made if it is not there.
        run_id: The run.

    Raises:
        UserError: Another process has it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _LOCK).open("a") as file:
        try:
            # Of this kind, forked processes inherit nothing: the nodes of a run that was killed may live a moment longer.
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            raise UserError(
                f"one process at a time may run a run. Another one is running {run_id}. Wait until it has ended, or start a new run, "
                "without --resume."
            ) from None
        except OSError as error:
            raise UserError(
                f"the file system of {folder} must have locks, which tell whether a run is under way. Received: {error.strerror}. Mount it "
                "with them, or take another folder (--root)."
            ) from error
        yield
