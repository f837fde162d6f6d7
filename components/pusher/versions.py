"""Versions in a serving folder: whole from the moment on that they are seen, under numbers that never go back.

A push is copied to a folder of its own below `.incoming`, which no server takes for a version, and put in its place under a lock. A
bucket has no locks, and renames no folder: there a push writes down the number it has chosen before it takes it, each file is renamed,
which its server does without sending it, and `saved_model.pb` comes last. A server that looks in that moment cannot load the version and
tries again.
"""

import contextlib
import fcntl
import json
import logging
import os
import random
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from components import storage
from components.console_line import ConsoleLine
from components.errors import UserError
from components.owned_folders import is_abandoned, own_folder

LAST = "saved_model.pb"
# TensorFlow and its server leave this folder of a SavedModel alone.
MARK = "assets.extra/push.json"
STAGING = ".incoming"
# Stays, so that all pushes lock one file.
LOCK = ".lock"
_TARGET = "version"
# In a bucket it cannot be seen whether another push is still under way.
_ABANDONED_SECONDS = 86_400
_LONGEST_PAUSE_SECONDS = 2.0
_MOST = 2**63 - 1
_MOST_MARK_BYTES = 1 << 16


@contextlib.contextmanager
def lock_versions(serving_root: str) -> Iterator[None]:
    """Keeps the other pushes on this machine, or on the same shared file system, from choosing versions."""
    if storage.is_remote(serving_root):
        yield
        return
    folder = os.path.join(serving_root, STAGING)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, LOCK), "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def staging_folder(serving_root: str) -> Iterator[str]:
    """A folder for one push, which is removed at the end; so are those of pushes that were killed.

    It is held by a lock as long as this process lives.
    """
    folder = storage.join(storage.join(serving_root, STAGING), uuid.uuid4().hex)
    with contextlib.ExitStack() as stack:
        # Behind the owner's file: network file systems keep one that is open, and the folder with it.
        stack.callback(_remove_staging, folder)
        with lock_versions(serving_root):
            _remove_abandoned(serving_root)
            if not storage.is_remote(folder):
                os.makedirs(folder)
                stack.enter_context(own_folder(folder))
        yield folder


def _remove_staging(folder: str) -> None:
    try:
        storage.remove(folder)
    except OSError as error:
        # What was pushed is pushed; the next push removes what is left.
        logging.warning("%s could not be removed. Received: %s", folder, error)


def place_version(serving_root: str, staging: str, staged: str) -> int:
    """Puts a whole copy of a model in place; returns its version.

    The version is the time in seconds, or one more than the highest there is: a server takes the highest number.

    Args:
        serving_root: The folder of all versions.
        staging: See `staging_folder`.
        staged: The copy, in it.
    """
    with lock_versions(serving_root):
        mark = read_mark(staged)
        if mark is not None and (version := find_version(serving_root, mark)) is not None:
            logging.warning("This execution had pushed version %d before it was killed.", version)
            return version
        if storage.is_remote(serving_root):
            version = _claim_version(serving_root, staging)
            _rename_files(staged, storage.join(serving_root, str(version)))
        else:
            version = _choose_version(list_versions(serving_root), serving_root)
            os.rename(staged, storage.join(serving_root, str(version)))
    return version


def list_versions(serving_root: str) -> list[int]:
    """Returns the versions that are there, whole or not, in order. What no server takes for one, beyond 64 bits, is none."""
    found = storage.find_files(storage.join(serving_root, "*"))
    return _read_numbers(place.rstrip("/").rpartition("/")[2] for place in found)


def _read_numbers(texts: Iterable[str]) -> list[int]:
    numbers = (int(text) for text in texts if text.isascii() and text.isdigit())
    return sorted(number for number in numbers if number <= _MOST)


def is_in_service(destination: str, version: str) -> bool:
    """Returns whether a pushed version is there, and is what a server takes: the highest one.

    Args:
        destination: Where it was pushed to. What is no folder of a version, such as an endpoint, cannot be asked, and is taken to be.
        version: Its number.
    """
    serving_root, _, name = destination.rstrip("/").rpartition("/")
    if not serving_root or name != version or not (version.isascii() and version.isdigit()):
        return True
    return list_versions(serving_root)[-1:] == [int(version)] and storage.exists(storage.join(destination, LAST))


def find_version(serving_root: str, mark: Mapping[str, Any]) -> int | None:
    """Returns the version that has this mark."""
    for version in reversed(list_versions(serving_root)):
        if read_mark(storage.join(serving_root, str(version))) == mark:
            return version
    return None


def write_mark(folder: str, mark: Mapping[str, Any]) -> None:
    """Writes into a version what it was pushed by, so that it is known even if the push cannot be recorded any more."""
    storage.write_text(storage.join(folder, MARK), json.dumps(mark, indent=1, sort_keys=True) + "\n")


def read_mark(folder: str) -> dict[str, Any] | None:
    """Returns what `write_mark` wrote; None where there is nothing, or nothing that can be read."""
    try:
        content = b""
        for block in storage.read_blocks(storage.join(folder, MARK)):
            content += block
            if len(content) > _MOST_MARK_BYTES:
                return None
        mark = json.loads(content)
    except (OSError, ValueError, RecursionError):
        return None
    return mark if isinstance(mark, dict) and all(map(_is_plain_text, mark.values())) else None


def _is_plain_text(value: Any) -> bool:
    return isinstance(value, str) and "\0" not in value and value == value.encode(errors="ignore").decode()


def _claim_version(serving_root: str, staging: str) -> int:
    """Chooses a version in a bucket, which no other push takes.

    A push writes its number down before it reads those of the others: of two with one number at least one sees the other, and chooses
    again. The versions that are in place are read behind the numbers, which a push takes away only once its version is in place.
    """
    while True:
        taken = [*_read_claims(serving_root, staging), *list_versions(serving_root)]
        version = _choose_version(taken, serving_root)
        storage.write_text(storage.join(staging, _TARGET), str(version))
        if version not in [*_read_claims(serving_root, staging), *list_versions(serving_root)]:
            return version
        time.sleep(random.uniform(0, _LONGEST_PAUSE_SECONDS))


def _read_claims(serving_root: str, staging: str) -> list[int]:
    """Returns the numbers that other pushes into this bucket have chosen."""
    texts = []
    for place in storage.find_files(storage.join(serving_root, f"{STAGING}/*/{_TARGET}")):
        if place != storage.join(staging, _TARGET):
            with contextlib.suppress(FileNotFoundError, ValueError):  # it has ended just now, or has written no text
                texts.append(storage.read_text(place))
    return _read_numbers(texts)


def _choose_version(taken: Iterable[int], serving_root: str) -> int:
    now, highest = int(time.time()), max(taken, default=0)
    if highest == _MOST:
        raise UserError(
            f"a server takes no higher version than {_MOST}. Received: {serving_root}, which has it. Remove or rename that one."
        )
    if highest >= now:
        told = ConsoleLine()
        told.keep(
            f"The highest version in {serving_root}, {highest}, is not older than this machine's clock, {now}: the new one is {highest + 1}."
        )
        told.close()
    return max(now, highest + 1)


def _rename_files(folder: str, target: str) -> None:
    """Renames every file of a folder in a bucket. An error in the middle leaves nothing at the target."""
    from tfx.dsl.io import fileio

    names = sorted((file.name for file in storage.list_files(folder)), key=lambda name: (name == LAST, name))
    try:
        for name in names:
            # No folder is made for them: a bucket needs none, and a server would take an empty one for a version.
            fileio.rename(storage.join(folder, name), storage.join(target, name))
    except BaseException:
        storage.remove(target)
        raise


def _remove_abandoned(serving_root: str) -> None:
    """Removes what pushes have left that were killed."""
    for place in storage.find_files(storage.join(storage.join(serving_root, STAGING), "*")):
        folder = place.rstrip("/")
        if folder.endswith(LOCK) or not _is_abandoned(folder):
            continue
        with contextlib.suppress(OSError, ValueError):  # only in buckets, and only if it came that far
            half = storage.join(serving_root, str(int(storage.read_text(storage.join(folder, _TARGET)))))
            if storage.exists(half) and not storage.exists(storage.join(half, LAST)):
                logging.warning("Removed %s, which was never pushed to its end.", half)
                storage.remove(half)
        logging.warning("Removed %s, which a push that was killed has left.", folder)
        _remove_staging(folder)


def _is_abandoned(folder: str) -> bool:
    if storage.is_remote(folder):
        newest = max((file.changed_at for file in storage.list_files(folder)), default=0.0)
        return time.time() - newest > _ABANDONED_SECONDS
    return is_abandoned(folder)
