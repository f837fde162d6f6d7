"""Folders of temporary files, one for each process: what it leaves there goes when it has ended, however that was.

TensorFlow, Beam and multiprocessing write some dozens of files there in a run, and processes that are killed, or that end at once, do not
remove them.
"""

import contextlib
import functools
import glob
import multiprocessing.util
import os
import shutil
import tempfile
import time
import weakref
from typing import IO, Any

from components.owned_folders import OWNER, is_abandoned, own_folder

_PREFIX = "tuning-"
_SHARED = "PIPELINE_SHARED_TMPDIR"
# The name of a socket has room for 107 characters, of which multiprocessing wants 33 for those that it puts there.
_LONGEST = 70
_LONGEST_PARENT = _LONGEST - len("/tuning-12345678")
_SHORT_PARENT = "/tmp"  # for sockets alone, where the folder of temporary files has a longer name
# Another process may be about to make one its own.
_NEW_SECONDS = 5


class Scratch:
    """A new folder, as long as this object or until `remove`.

    Attributes:
        folder: Where it is.
    """

    def __init__(self, parent: str | None = None) -> None:
        """Makes it; those of processes whose maker was killed are removed.

        Args:
            parent: The folder that it is in; None: that of temporary files.
        """
        _remove_abandoned()
        self.folder = tempfile.mkdtemp(prefix=_PREFIX, dir=parent)
        self._owner = own_folder(self.folder)
        self._remove = weakref.finalize(self, _remove, self.folder, self._owner)

    def remove(self) -> None:
        """Removes it with all that is in it; nothing if it is gone."""
        self._remove()


@functools.cache
def keep_sockets_in_scratch() -> Scratch:
    """Makes multiprocessing keep the sockets of this process in such a folder; for the whole life of the process.

    It makes a folder for them when the first is needed, and nobody removes that of a process which was killed.
    """
    scratch = Scratch(None if len(tempfile.gettempdir()) <= _LONGEST_PARENT else _SHORT_PARENT)
    scratch._remove.atexit = False
    # After multiprocessing has removed its own, which it does with priority -100.
    multiprocessing.util.Finalize(None, _remove, (scratch.folder, scratch._owner), exitpriority=-200)
    before, tempfile.tempdir = tempfile.tempdir, scratch.folder
    try:
        multiprocessing.util.get_temp_dir()
    finally:
        tempfile.tempdir = before
    return scratch


def get_shared_folder() -> str:
    """Returns the folder of temporary files that all processes of this machine share, whatever `use_scratch` has set."""
    return os.environ.get(_SHARED) or tempfile.gettempdir()


def describe_long_folder() -> str:
    """Says that temporary files stay, and why; "" if they go."""
    here = tempfile.gettempdir()
    if len(here) <= _LONGEST_PARENT:
        return ""
    return (
        f"Temporary files in {here} stay when the run has ended: its name has {len(here)} characters, and sockets have room for "
        f"{_LONGEST_PARENT}. Set TMPDIR to a shorter one."
    )


def use_scratch(folder: str) -> None:
    """Makes this process write its temporary files there, and the processes that it starts; unless the name is too long for sockets."""
    if len(folder) > _LONGEST:
        return
    os.environ.setdefault(_SHARED, tempfile.gettempdir())
    os.environ["TMPDIR"] = folder
    tempfile.tempdir = None  # which remembers where they went before


def _remove(folder: str, owner: IO[Any]) -> None:
    owner.close()
    shutil.rmtree(folder, ignore_errors=True)


def _remove_abandoned() -> None:
    for owner in glob.glob(os.path.join(glob.escape(tempfile.gettempdir()), f"{_PREFIX}*", OWNER)):
        folder = os.path.dirname(owner)  # another folder of such a name is not ours
        with contextlib.suppress(OSError):  # another process was faster, or it is another account's
            if time.time() - os.stat(folder).st_mtime > _NEW_SECONDS and is_abandoned(folder):
                shutil.rmtree(folder, ignore_errors=True)
