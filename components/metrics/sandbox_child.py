"""Shuts its own process in, and becomes a Python that runs the program on standard input. See `sandbox.py`.

Usage: python -I sandbox_child.py FOLDER SECONDS MEMORY_MIB
"""

import ctypes
import os
import resource
import sys

_NEW_NAMESPACES = (
    0x00020000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000
)  # mounts, IPC, users, processes, network
_MOUNT_SETATTR = 442  # number of the call on x86-64 and arm64
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_READ_ONLY = 0x1
_NO_NEW_PRIVILEGES = 38
_INNER_ID = 1000
_NO_ISOLATION = 97


class _MountAttributes(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "user_namespace")]


def main() -> None:
    """Never returns."""
    folder, seconds, memory_mib = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    try:
        _isolate(folder)
    except OSError as error:
        print(error, flush=True)
        os._exit(_NO_ISOLATION)
    # The first process of a name space: with it all end that it has started, wherever they hide.
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        os._exit(min(os.waitstatus_to_exitcode(status) & 0xFF, 1))
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
    os.execv(sys.executable, [sys.executable, "-I", "-"])


def _isolate(folder: str) -> None:
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


if __name__ == "__main__":
    main()
