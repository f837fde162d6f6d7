"""Shuts its own process in, and becomes a Python that runs the program on standard input. See `sandbox.py`.

Usage: python -I sandbox_child.py FOLDER SECONDS MEMORY_MIB ERRORS

ERRORS is the number of an open file that is told why the program could not be shut in; it is closed where it could be.
"""

import ctypes
import os
import platform
import resource
import signal
import sys

_NEW_NAMESPACES = (
    0x00020000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000
)  # mounts, IPC, users, processes, network
_MOUNT_SETATTR, _IO_URING_SETUP = 442, 425  # numbers of the calls, on x86-64 and arm64 alike
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_READ_ONLY = 0x1
_DEATH_SIGNAL, _SECCOMP, _NO_NEW_PRIVILEGES = 1, 22, 38  # of `prctl`
_INNER_ID = 1000
# By machine: its number for the audit, and that of the call `socket`.
_MACHINES = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}


class _MountAttributes(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "user_namespace")]


class _Instruction(ctypes.Structure):
    _fields_ = [
        ("code", ctypes.c_uint16),
        ("if_true", ctypes.c_uint8),
        ("if_false", ctypes.c_uint8),
        ("k", ctypes.c_uint32),
    ]


class _Filter(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.POINTER(_Instruction))]


def main() -> None:
    """Never returns."""
    errors = int(sys.argv[4])
    os.set_inheritable(errors, False)
    try:
        _run(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    except BaseException as error:  # noqa: BLE001  Whatever it is, nothing may run then.
        os.write(errors, f"{type(error).__name__}: {error}".encode())
    os._exit(1)


def _run(folder: str, seconds: int, memory_mib: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)

    def call(name: str, *arguments: object) -> None:
        if getattr(library, name)(*arguments) != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"{name}: {os.strerror(number)}")

    user, group = os.geteuid(), os.getegid()
    call("unshare", _NEW_NAMESPACES)
    # Without a number of its own it could write no file anywhere. As it is not 0, `exec` takes its capabilities away, with
    # which it could undo what follows.
    for name, content in (
        ("setgroups", "deny"),
        ("uid_map", f"{_INNER_ID} {user} 1"),
        ("gid_map", f"{_INNER_ID} {group} 1"),
    ):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(content)
    call("prctl", _NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    read_only = _MountAttributes(_READ_ONLY, 0, 0, 0)
    call(
        "syscall",
        ctypes.c_long(_MOUNT_SETATTR),
        ctypes.c_int(_AT_FDCWD),
        b"/",
        ctypes.c_uint(_AT_RECURSIVE),
        ctypes.byref(read_only),
        ctypes.c_size_t(ctypes.sizeof(read_only)),
    )
    call("mount", b"tmpfs", folder.encode(), b"tmpfs", ctypes.c_ulong(0), b"size=16m")
    os.chdir(folder)
    _fork_and_wait()
    # The first process of the name space, which the program cannot touch: with it all end that the program has started.
    call("prctl", _DEATH_SIGNAL, int(signal.SIGKILL), 0, 0, 0)
    _fork_and_wait()
    limits = {
        resource.RLIMIT_CPU: seconds,
        resource.RLIMIT_AS: memory_mib * 2**20,
        resource.RLIMIT_FSIZE: 2**20,
        resource.RLIMIT_NOFILE: 64,
        resource.RLIMIT_NPROC: 16,
        resource.RLIMIT_CORE: 0,
    }
    for kind, limit in limits.items():
        resource.setrlimit(kind, (limit, limit))
    program = _make_filter()
    call("prctl", _SECCOMP, 2, ctypes.byref(program), 0, 0)
    os.execv(sys.executable, [sys.executable, "-I", "-"])


def _fork_and_wait() -> None:
    """Returns in the child; the parent ends as the child does."""
    if child := os.fork():
        _, status = os.waitpid(child, 0)
        os._exit(0 if status == 0 else 1)


def _make_filter() -> _Filter:
    """Forbids sockets of this machine's own kind, which are files: whoever listens there is outside of the name spaces."""
    machine, socket = _MACHINES[platform.machine()]
    load, equal, at_least, answer = 0x20, 0x15, 0x35, 0x06
    steps = [
        (load, 0, 0, 4),  # the machine
        (equal, 0, 7, machine),
        (load, 0, 0, 0),  # the call
        (at_least, 5, 0, 0x40000000),  # the calls of x32
        (equal, 4, 0, _IO_URING_SETUP),  # makes sockets too
        (equal, 0, 2, socket),
        (load, 0, 0, 16),  # its first argument
        (equal, 1, 0, 1),  # AF_UNIX
        (answer, 0, 0, 0x7FFF0000),  # allow
        (answer, 0, 0, 0x00050000 | 13),  # EACCES
    ]
    instructions = (_Instruction * len(steps))(*(_Instruction(*step) for step in steps))
    return _Filter(len(steps), instructions)


if __name__ == "__main__":
    main()
