"""What the machine refuses is said in one sentence; real refusals where any machine has them."""

import errno
import os
import sqlite3
from types import SimpleNamespace

import pytest
from ml_metadata import errors as mlmd_errors

from components import system_errors
from components.errors import UserError
from components.system_errors import check_room, explain_system_error


def catch(function, *arguments):
    with pytest.raises(Exception) as caught:
        function(*arguments)
    return caught.value


def write(path):
    with open(path, "w") as file:
        file.write("x")


def test_a_full_disk_is_named_with_what_is_free():
    told = explain_system_error(catch(write, "/dev/full"))
    assert told.startswith(
        "a file could not be written or read: the disk is full. Make room, or take another one (--root"
    )
    assert "Free at /" in told
    assert told.endswith(" files.")


def test_errors_that_others_made_of_it_are_seen_through(tmp_path):
    def fail():
        try:
            write("/dev/full")
        except OSError as error:
            raise RuntimeError("the training could not be saved") from error

    assert "the disk is full" in explain_system_error(catch(fail))
    error = sqlite3.OperationalError("database or disk is full")
    assert "the disk is full" in explain_system_error(error)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (
            errno.EROFS,
            "x/y could not be written or read: the file system is mounted read-only. Take a folder that can be written",
        ),
        (errno.EACCES, "x/y could not be written or read: this account may not. Change the permissions"),
        (errno.ENOTDIR, "a file stands where a folder is needed. Move it"),
        (errno.EMFILE, "too many files are open. Raise the limit"),
        (errno.EFBIG, "it would be larger than this file system, or the limit of this account (ulimit -f), allows"),
        (errno.ENAMETOOLONG, "a name, or the path, is longer than the file system allows"),
        (errno.ELOOP, "its symbolic links lead in a circle"),
        (errno.EBUSY, "something else uses it"),
        (errno.ENOMEM, "this machine has no memory left"),
        (errno.EDQUOT, "the quota of this account is used up. Make room"),
    ],
)
def test_what_is_refused_is_said_with_the_way_out(number, words):
    assert words in explain_system_error(OSError(number, os.strerror(number), "x/y"))


def test_defects_stay_defects():
    def fail():
        try:
            raise PermissionError(errno.EACCES, "not allowed", "x")
        except PermissionError:
            raise ValueError("another matter") from None

    assert explain_system_error(catch(fail)) is None
    assert explain_system_error(TimeoutError(errno.ETIMEDOUT, "Connection timed out")) is None
    assert "the network file system does not answer" in explain_system_error(
        TimeoutError(errno.ETIMEDOUT, "x", "/mnt/a")
    )
    assert explain_system_error(FileNotFoundError(errno.ENOENT, "no such file", "x")) is None
    assert explain_system_error(ValueError("No space left on device, says a record")) is None


@pytest.mark.parametrize(
    ("free", "files", "free_files", "is_room"),
    [(1 << 30, 10**6, 10**5, True), (1 << 20, 10**6, 10**5, False), (1 << 30, 10**6, 5, False), (1 << 30, 0, 0, True)],
)
def test_a_run_begins_only_where_there_is_room(tmp_path, monkeypatch, free, files, free_files, is_room):
    status = SimpleNamespace(
        f_bavail=free // 4096, f_frsize=4096, f_files=files, f_favail=free_files, f_blocks=0, f_bfree=0, f_flag=0
    )
    monkeypatch.setattr(system_errors.os, "statvfs", lambda place: status)
    folder = tmp_path / "not" / "there"
    if is_room:
        check_room(folder)
        return
    with pytest.raises(UserError, match=rf"needs room for what it writes\. Received: {folder}, where the disk is full"):
        check_room(folder)


def test_a_run_begins_only_where_it_can_write(tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.write_text("x")
    with pytest.raises(UserError, match=r"Received: .*/file/runs, where a file stands where a folder is needed"):
        check_room(file / "runs")
    check_room(tmp_path / "runs")
    status = os.statvfs(tmp_path)
    monkeypatch.setattr(system_errors.os, "access", lambda place, mode: False)  # root may write everywhere
    with pytest.raises(
        UserError, match=rf"Received: {tmp_path}/runs, where this account may not\. Change the permissions"
    ):
        check_room(tmp_path / "runs")
    read_only = SimpleNamespace(f_bavail=status.f_bavail, f_frsize=4096, f_files=0, f_favail=0, f_flag=os.ST_RDONLY)
    monkeypatch.setattr(system_errors.os, "statvfs", lambda place: read_only)
    with pytest.raises(UserError, match=r"where the file system is mounted read-only\. Take a folder"):
        check_room(tmp_path / "runs")


@pytest.mark.parametrize(
    "message", ["disk I/O error: database or disk is full", "attempt to write a readonly database"]
)
def test_what_the_metadata_store_says_of_it_is_understood(message):
    assert "could not be written or read" in explain_system_error(mlmd_errors.InternalError(message))
