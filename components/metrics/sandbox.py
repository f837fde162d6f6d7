"""Runs programs that nobody has read: in a process of their own, with limits, without network, and with next to no files.

What is not needed is denied. The process gets name spaces of Linux of its own, and a root of its own: an empty file system of 16 MiB in
memory, where it runs, and, read-only, the system's programs and libraries and those of this Python. There are no other files, no devices but
`null`, `zero` and `random`, no `/proc`, no network interface but its own loopback, no keys of this session. It has limits on time, memory, files
and processes, no environment variables, no capabilities, a user of its own where it is started by root, and of the calls of the system those
alone that ordinary programs make.

A program that was written to cheat can still pass without working: it could read the mark (see `run_program`) and print it itself. What it
cannot do is to reach anything outside.
"""

import os
import secrets
import signal
import subprocess
import sys
import tempfile

from components.errors import UserError
from components.metrics import sandbox_child


def run_program(program: str, *, seconds: int, memory_mib: int) -> bool:
    """Returns whether a Python program runs to its last line, without error.

    Args:
        program: Its source.
        seconds: Most time, of the clock and of the processor.
        memory_mib: Most memory, in MiB.

    Raises:
        UserError: The program cannot be shut in on this machine; it has not been run.
    """
    # It prints this at its end: one that leaves early has not passed.
    mark = secrets.token_hex().encode()
    read_end, write_end = os.pipe()
    mark_end, given_end = os.pipe()
    os.write(given_end, mark)
    os.close(given_end)
    with (
        os.fdopen(read_end, "rb") as errors,
        tempfile.TemporaryDirectory() as folder,
        tempfile.TemporaryFile() as written,
    ):
        process = subprocess.Popen(
            [
                *(sys.executable, "-I", sandbox_child.__file__, folder),
                *map(str, (seconds, memory_mib, write_end, mark_end)),
            ],
            pass_fds=[write_end, mark_end],
            stdin=subprocess.PIPE,
            # A file, to which its limit on files applies: a pipe would be read into memory without end.
            stdout=written,
            stderr=subprocess.DEVNULL,
            env={},
            cwd=folder,
            start_new_session=True,
        )
        os.close(write_end)
        os.close(mark_end)
        try:
            process.communicate(program.encode("utf-8", "replace"), timeout=seconds)
        except subprocess.TimeoutExpired:
            pass
        finally:
            # What the program has started goes with it.
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
        reason = errors.read().decode("utf-8", "replace")
        written.seek(0)
        output = written.read()
    if reason:
        raise UserError(
            "pass_at_k must shut in the programs that it runs, by name spaces of Linux (5.12 or newer) and libseccomp. "
            f"Received from the system: {reason}. Nothing was run. Allow them (Docker: "
            "`--security-opt seccomp=unconfined --security-opt apparmor=unconfined`), or leave the metric out."
        )
    return process.returncode == 0 and mark in output.splitlines()


def find_problem() -> str | None:
    """Returns why programs cannot be shut in on this machine; None if they can."""
    try:
        works = run_program("", seconds=20, memory_mib=256)
    except UserError as error:
        return str(error)
    if works:
        return None
    return (
        f"pass_at_k must start Python inside of its sandbox, and an empty program does not pass there. Received: {sys.executable}, "
        f"with {sys.base_prefix}. Python must need no other folders and no environment variables (LD_LIBRARY_PATH); or leave the metric out."
    )
