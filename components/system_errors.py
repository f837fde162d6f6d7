"""What a machine refuses: a full disk, a folder that cannot be written. In one sentence, with the way out."""

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from components.errors import UserError

# By what libraries write into errors of their own, as SQLite and TensorFlow do.
_TEXTS = {
    "No space left on device": errno.ENOSPC,
    "database or disk is full": errno.ENOSPC,
    "Disk quota exceeded": errno.EDQUOT,
    "Read-only file system": errno.EROFS,
    "attempt to write a readonly database": errno.EACCES,
    "unable to open database file": errno.EACCES,
    "Permission denied": errno.EACCES,
    "Too many open files": errno.EMFILE,
    "File too large": errno.EFBIG,
    "File name too long": errno.ENAMETOOLONG,
    "Too many levels of symbolic links": errno.ELOOP,
}
_FULL = "the disk is full. Make room, or take another one (--root for what the run writes, TMPDIR for temporary files), and go on with --resume"
_REASONS = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL.replace("the disk is full", "the quota of this account is used up"),
    errno.EROFS: "the file system is mounted read-only. Take a folder that can be written (--root, TMPDIR)",
    errno.EACCES: "this account may not. Change the permissions, or take another folder (--root, TMPDIR)",
    errno.EPERM: "this account may not. Change the permissions, or take another folder (--root, TMPDIR)",
    errno.ENOTDIR: "a file stands where a folder is needed. Move it, or take another folder (--root, TMPDIR)",
    errno.EFBIG: "it would be larger than this file system, or the limit of this account (ulimit -f), allows. Raise that, or take another folder (--root, TMPDIR)",
    errno.ENAMETOOLONG: "a name, or the path, is longer than the file system allows. Take shorter ones (--root, pipeline.name)",
    errno.ELOOP: "its symbolic links lead in a circle. Mend them, or name another place",
    errno.EBUSY: "something else uses it, such as a mounted file system. End that, or name another place",
    errno.ETXTBSY: "a program runs from it. End that, or name another place",
    errno.ENODEV: "there is no such device. See whether the file system is mounted",
    errno.ENXIO: "there is no such device. See whether the file system is mounted",
    errno.ENOMEM: "this machine has no memory left. End other programs",
    errno.ETIMEDOUT: "the network file system does not answer. See whether its server is there",
    errno.EMFILE: "too many files are open. Raise the limit (ulimit -n)",
    errno.ENFILE: "too many files are open on this machine",
    errno.EIO: "the device has an error. See the system's log (dmesg)",
    errno.ESTALE: "the network file system has lost the file. See whether its server is there",
}
# Below this nothing can be written that would be of use.
_LEAST_FREE_BYTES, _LEAST_FREE_FILES = 64 << 20, 1000


def explain_system_error(error: BaseException) -> str | None:
    """Returns a sentence if an error, or one that it comes from, is the machine's refusal; None for all others."""
    for cause in _list_causes(error):
        number = cause.errno if isinstance(cause, OSError) and cause.errno in _REASONS else None
        if number == errno.ETIMEDOUT and not getattr(cause, "filename", None):
            number = None  # of a connection
        if number is None and (isinstance(cause, OSError) or _is_of_library(cause)):
            number = next((number for text, number in _TEXTS.items() if text in str(cause)), None)
        if number is not None:
            place = str(cause.filename) if isinstance(cause, OSError) and cause.filename else ""
            return (
                f"{place or 'a file'} could not be written or read: {_REASONS[number]}.{_describe_space(place, number)}"
            )
    return None


def check_room(*folders: str | Path) -> None:
    """Checks that folders can be written and have some room, before anything is begun. They need not be there yet.

    Raises:
        UserError: One has not.
    """
    for folder in folders:
        there = _find_existing(str(folder))
        status = os.statvfs(there)
        refusals = {
            errno.EROFS: bool(status.f_flag & os.ST_RDONLY),
            errno.ENOTDIR: not os.path.isdir(there),
            errno.EACCES: not os.access(there, os.W_OK | os.X_OK),
        }
        if reason := next((_REASONS[number] for number, is_so in refusals.items() if is_so), ""):
            raise UserError(f"a run must be able to write. Received: {folder}, where {reason}.")
        free = status.f_bavail * status.f_frsize
        # Some file systems count no files.
        if free < _LEAST_FREE_BYTES or (status.f_files > 0 and status.f_favail < _LEAST_FREE_FILES):
            raise UserError(
                f"a run needs room for what it writes. Received: {folder}, where {_REASONS[errno.ENOSPC]}.{_describe_space(there, errno.ENOSPC)}"
            )


def _is_of_library(error: BaseException) -> bool:
    return type(error).__module__.partition(".")[0] in (
        "tensorflow",
        "ml_metadata",
        "apache_beam",
        "sqlite3",
        "h5py",
        "safetensors",
    )


def _list_causes(error: BaseException) -> Iterator[BaseException]:
    seen: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in seen:
        seen.append(cause)
        yield cause
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)


def _find_existing(place: str) -> str:
    path = Path(place).absolute()
    return str(next(parent for parent in (path, *path.parents) if parent.exists()))


def _describe_space(place: str, number: int) -> str:
    if number not in (errno.ENOSPC, errno.EDQUOT):
        return ""
    try:
        there = _find_existing(place or ".")
        free, files = shutil.disk_usage(there).free, os.statvfs(there).f_favail
    except OSError:
        return ""
    return f" Free at {there}: {free / 2**20:,.1f} MiB, {files:,} files."
