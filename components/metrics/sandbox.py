"""Runs programs that nobody has read: in a process of their own, with limits, without network, and without files to write.

The process gets name spaces of Linux of its own: no network interface but its own loopback, no sockets of this machine, all file
systems read-only but for an empty one of 16 MiB in memory, which is where it runs. It has limits on time, memory, files and
processes, no environment variables and no capabilities. What it can still do is read the files that this process can read, and
write into FIFOs that it may open: run evaluations of code as a user that can read nothing of value, as in the project's container.
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
    token = secrets.token_hex()
    # A program that leaves early has not passed.
    source = f"{program}\n\nprint({token!r})\n"
    read_end, write_end = os.pipe()
    with (
        os.fdopen(read_end, "rb") as errors,
        tempfile.TemporaryDirectory() as folder,
        tempfile.TemporaryFile() as written,
    ):
        process = subprocess.Popen(
            [sys.executable, "-I", sandbox_child.__file__, folder, str(seconds), str(memory_mib), str(write_end)],
            pass_fds=[write_end],
            stdin=subprocess.PIPE,
            # A file, to which its limit on files applies: a pipe would be read into memory without end.
            stdout=written,
            stderr=subprocess.DEVNULL,
            env={},
            cwd=folder,
            start_new_session=True,
        )
        os.close(write_end)
        try:
            process.communicate(source.encode("utf-8", "replace"), timeout=seconds)
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
            "pass_at_k must shut in the programs that it runs, by user, network and mount name spaces of Linux (5.12 or newer). "
            f"Received from the system: {reason}. Nothing was run. Allow them (Docker: "
            "`--security-opt seccomp=unconfined --security-opt apparmor=unconfined`), or leave the metric out."
        )
    return process.returncode == 0 and token.encode() in output.splitlines()


def find_problem() -> str | None:
    """Returns why programs cannot be shut in on this machine; None if they can."""
    try:
        run_program("", seconds=20, memory_mib=256)
    except UserError as error:
        return str(error)
    return None
