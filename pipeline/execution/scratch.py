"""Folders of temporary files, one for each process: what it leaves there goes when it has ended, however that was.

TensorFlow, Beam and multiprocessing write some dozens of files there in a run, and processes that are killed, or that end at once, do not
remove them.
"""

import contextlib
import glob
import os
import shutil
import tempfile
import time
import weakref
from typing import IO, Any

from components.owned_folders import is_abandoned, own_folder

_PREFIX = "tuning-process-"
# Another process may be about to make one its own.
_MINUTE = 60


class Scratch:
    """A new folder, as long as this object or until `remove`.

    Attributes:
        folder: Where it is.
    """

    def __init__(self) -> None:
        """Makes it; those of processes whose maker was killed are removed."""
        _remove_abandoned()
        self.folder = tempfile.mkdtemp(prefix=_PREFIX)
        self._remove = weakref.finalize(self, _remove, self.folder, own_folder(self.folder))

    def remove(self) -> None:
        """Removes it with all that is in it; nothing if it is gone."""
        self._remove()


def use_scratch(folder: str) -> None:
    """Makes this process write its temporary files there, and the processes that it starts."""
    os.environ["TMPDIR"] = folder
    tempfile.tempdir = None  # which remembers where they went before


def _remove(folder: str, owner: IO[Any]) -> None:
    owner.close()
    shutil.rmtree(folder, ignore_errors=True)


def _remove_abandoned() -> None:
    for folder in glob.glob(os.path.join(glob.escape(tempfile.gettempdir()), f"{_PREFIX}*")):
        with contextlib.suppress(OSError):  # another process was faster, or it is another account's
            if time.time() - os.stat(folder).st_mtime > _MINUTE and is_abandoned(folder):
                shutil.rmtree(folder, ignore_errors=True)
