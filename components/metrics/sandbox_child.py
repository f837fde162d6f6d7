"""Shuts its own process in, and becomes a Python that runs the program on standard input. See `sandbox.py`.

Usage: python -I sandbox_child.py FOLDER SECONDS MEMORY_MIB ERRORS MARK

FOLDER becomes the root of the file system. ERRORS is the number of an open file that is told why the program could not be shut in; it is
closed where it could be. MARK is that of an open file whose text is printed once the program has run to its last line.
"""

import ctypes
import errno
import os
import platform
import resource
import signal
import sys
from collections.abc import Callable

_MOUNTS, _IPC, _USERS, _PROCESSES, _NETWORK, _NAMES = (
    0x00020000, 0x08000000, 0x10000000, 0x20000000, 0x40000000, 0x04000000,
)  # fmt: skip
# Flags of `mount`, of `umount2` and of `mount_setattr`.
_NO_SUID, _NO_DEVICES, _BIND, _RECURSIVE, _PRIVATE = 2, 4, 4096, 16384, 1 << 18
_DETACH = 2
_READ_ONLY_ATTRIBUTE, _NO_SUID_ATTRIBUTE, _NO_DEVICES_ATTRIBUTE, _NO_EXEC_ATTRIBUTE = 1, 2, 4, 8
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_MOUNT_SETATTR = 442  # the number of this call on all machines
_DEATH_SIGNAL, _NO_NEW_PRIVILEGES = 1, 38  # of `prctl`
_JOIN_SESSION_KEYRING = 1
_INNER_ID = 1000
# Where there is no account: limits on processes count those of a user, and hold for all but the first one.
_OUTER_IDS = (1 << 30, 65534)
# By machine: the numbers of `pivot_root` and `keyctl`.
_CALLS = {"x86_64": (155, 250), "aarch64": (41, 219)}

# All that can be seen of the machine, beside the interpreter's own folders.
_READABLE = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache", "/etc/alternatives")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")

# What an ordinary program asks of the system. Whatever is not here is refused, calls of kernels to come too.
_ALLOWED = """
    read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 sendfile copy_file_range splice tee
    open openat creat close close_range lseek dup dup2 dup3 fcntl pipe pipe2 ftruncate truncate fsync fdatasync
    stat fstat lstat newfstatat fstatat64 statx statfs fstatfs access faccessat readlink readlinkat getcwd chdir fchdir
    getdents getdents64 mkdir mkdirat rmdir unlink unlinkat rename renameat renameat2 link linkat symlink symlinkat
    chmod fchmod fchmodat umask utime utimes utimensat futimesat fadvise64 readahead sync_file_range inotify_init1
    mmap munmap mprotect mremap madvise mincore msync brk mlock munlock membarrier
    poll ppoll select pselect6 epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2 eventfd eventfd2
    timerfd_create timerfd_settime timerfd_gettime signalfd signalfd4
    rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigsuspend rt_sigtimedwait rt_sigqueueinfo sigaltstack
    alarm setitimer getitimer pause timer_create timer_settime timer_gettime timer_getoverrun timer_delete
    clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday time times
    fork vfork execve execveat exit exit_group wait4 waitid kill tkill tgkill
    getpid getppid gettid getpgid getpgrp getsid setpgid setsid getuid geteuid getgid getegid getresuid getresgid getgroups
    set_tid_address set_robust_list get_robust_list futex futex_waitv rseq arch_prctl prctl restart_syscall
    sched_yield sched_getaffinity sched_setaffinity sched_getparam sched_getscheduler sched_get_priority_max
    sched_get_priority_min getpriority setpriority getcpu
    getrlimit setrlimit prlimit64 getrusage sysinfo uname getrandom capget
    bind connect listen accept accept4 getsockname getpeername getsockopt setsockopt shutdown
    sendto sendmsg sendmmsg recvfrom recvmsg recvmmsg
"""
# By number (TCGETS, TCGETS2, TIOCGWINSZ, TIOCGPGRP, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX): what asks about a file, or marks it. Others
# act on whatever a file is, such as those that take room on a disk which no limit holds.
_CONTROLS = (0x5401, 0x802C542A, 0x5413, 0x540F, 0x541B, 0x5421, 0x5450, 0x5451)
# Libraries go on without these where the kernel is said not to have them.
_UNKNOWN = ("clone3", "openat2", "faccessat2", "pidfd_open", "pidfd_send_signal", "io_uring_setup", "memfd_create")
_FAMILIES = (2, 10)  # of sockets: IPv4 and IPv6, of a network that has no interface
_UNIX, _STREAM, _KIND = 1, 1, 0xF  # pairs of sockets of one process
_ALLOW, _REFUSE, _SAY_UNKNOWN = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS

# What runs the program: the mark is read when it has ended, and stands nowhere in the memory before.
_RUNNER = """
import os, sys
mark = int(sys.argv.pop())
exec(compile(sys.stdin.buffer.read(), "<program>", "exec"), {"__name__": "__main__", "__builtins__": __builtins__})
sys.__stdout__.flush()
os.write(1, b"\\n" + os.read(mark, 100) + b"\\n")
"""


class _MountAttributes(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "user_namespace")]


class _Comparison(ctypes.Structure):
    """Of an argument with a value: 4 equal, 7 equal where a mask is set (then `a` is the mask)."""

    _fields_ = [("argument", ctypes.c_uint), ("operator", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]


_EQUAL, _EQUAL_MASKED = 4, 7
_LIBRARY = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    """Never returns."""
    errors = int(sys.argv[4])
    os.set_inheritable(errors, False)
    try:
        _run(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), errors, sys.argv[5])
    except BaseException as error:  # noqa: BLE001  Whatever it is, nothing may run then.
        os.write(errors, f"{type(error).__name__}: {error}".encode())
    os._exit(1)


def _run(folder: str, seconds: int, memory_mib: int, errors: int, mark: str) -> None:
    pivot_root, keyctl = _CALLS[platform.machine()]
    load_filter = _make_filter()
    # Whoever is killed while it waits for the program takes the program along.
    _call("prctl", _DEATH_SIGNAL, int(signal.SIGKILL), 0, 0, 0)
    user, group = os.geteuid(), os.getegid()
    spaces = _MOUNTS | _IPC | _PROCESSES | _NETWORK | _NAMES
    _call("unshare", spaces if user == 0 else spaces | _USERS)
    if user != 0:
        # Without a number of its own it could write no file anywhere. As it is not 0, `exec` takes its capabilities away, with
        # which it could undo what follows.
        for name, content in (
            ("setgroups", "deny"),
            ("uid_map", f"{_INNER_ID} {user} 1"),
            ("gid_map", f"{_INNER_ID} {group} 1"),
        ):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(content)
    _call("prctl", _NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    _call("mount", None, b"/", None, ctypes.c_ulong(_RECURSIVE | _PRIVATE), None)
    _make_root(folder)
    os.chdir(folder)
    # The old root stands on the new one for a moment, and goes.
    _call("syscall", ctypes.c_long(pivot_root), b".", b".")
    _call("umount2", b".", _DETACH)
    os.chdir("/tmp")
    try:
        _call("syscall", ctypes.c_long(keyctl), ctypes.c_int(_JOIN_SESSION_KEYRING), None)
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EPERM):  # then nothing can ask for keys at all
            raise
    if user == 0:
        _become_nobody()
        _call("prctl", _DEATH_SIGNAL, int(signal.SIGKILL), 0, 0, 0)  # another account has none
    _fork_and_wait(errors)
    # The first process of the name space, which the program cannot touch: with it all end that the program has started.
    _call("prctl", _DEATH_SIGNAL, int(signal.SIGKILL), 0, 0, 0)
    _fork_and_wait(errors)
    os.setsid()  # what it sends to its group reaches nobody else
    limits = {
        resource.RLIMIT_CPU: seconds,
        resource.RLIMIT_AS: memory_mib * 2**20,
        resource.RLIMIT_FSIZE: 2**20,
        resource.RLIMIT_NOFILE: 64,
        resource.RLIMIT_NPROC: 16,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
    }
    for kind, limit in limits.items():
        resource.setrlimit(kind, (limit, limit))
    load_filter()
    os.execv(sys.executable, [sys.executable, "-I", "-c", _RUNNER, mark])


def _call(name: str, *arguments: object) -> None:
    if getattr(_LIBRARY, name)(*arguments) == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _make_root(folder: str) -> None:
    """Mounts a small file system in memory, and in it, read-only, what Python needs to run."""
    options = b"size=16m,nr_inodes=1k,mode=755"
    _call("mount", b"tmpfs", folder.encode(), b"tmpfs", ctypes.c_ulong(_NO_SUID | _NO_DEVICES), options)
    executable = os.path.dirname(os.path.realpath(sys.executable))
    prefixes = (sys.base_prefix, sys.prefix, os.path.dirname(executable))
    # An environment may be a link, to one that lies elsewhere.
    wanted = [*_READABLE, *sorted({*prefixes, *map(os.path.realpath, prefixes)}, key=len)]
    bound: list[str] = []
    for place in wanted:
        if not os.path.lexists(place) or any(f"{place}/".startswith(f"{other}/") for other in bound):
            continue
        target = folder + place
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if os.path.islink(place):
            os.symlink(os.readlink(place), target)
            continue
        _bind(place, target, _READ_ONLY_ATTRIBUTE | _NO_SUID_ATTRIBUTE | _NO_DEVICES_ATTRIBUTE)
        bound.append(place)
    for device in _DEVICES:
        os.makedirs(f"{folder}/dev", exist_ok=True)
        _bind(device, folder + device, _NO_SUID_ATTRIBUTE | _NO_EXEC_ATTRIBUTE)
    os.makedirs(f"{folder}/tmp", exist_ok=True)  # Python may lie below it
    os.chmod(f"{folder}/tmp", 0o1777)


def _bind(place: str, target: str, attributes: int) -> None:
    if os.path.isdir(place):
        os.mkdir(target)
    else:
        open(target, "w").close()
    _call("mount", place.encode(), target.encode(), None, ctypes.c_ulong(_BIND | _RECURSIVE), None)
    wanted = _MountAttributes(attributes, 0, 0, 0)
    _call(
        "syscall",
        ctypes.c_long(_MOUNT_SETATTR),
        ctypes.c_int(_AT_FDCWD),
        target.encode(),
        ctypes.c_uint(_AT_RECURSIVE),
        ctypes.byref(wanted),
        ctypes.c_size_t(ctypes.sizeof(wanted)),
    )


def _become_nobody() -> None:
    os.setgroups([])
    for number in _OUTER_IDS:
        try:
            os.setresgid(number, number, number)
            os.setresuid(number, number, number)
        except OSError as error:
            if error.errno != errno.EINVAL:  # a container may have few numbers
                raise
        else:
            return
    raise OSError(errno.EINVAL, "setresuid: no number that is no account's")


def _fork_and_wait(errors: int) -> None:
    """Returns in the child; the parent ends as the child does, whatever it is sent."""
    if child := os.fork():
        os.close(errors)
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}:
            try:
                signal.signal(number, signal.SIG_IGN)
            except OSError:  # one of the C library's own
                continue
        _, status = os.waitpid(child, 0)
        os._exit(0 if status == 0 else 1)


def _make_filter() -> Callable[[], None]:
    """Returns a function that forbids all calls but those of an ordinary program, from then on."""
    try:
        library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    except OSError as error:
        raise OSError(errno.ENOENT, "libseccomp.so.2 (Debian's package libseccomp2) is not there") from error
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(_REFUSE)))

    def add(action: int, name: str, *comparisons: _Comparison) -> None:
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number < 0:  # this machine, or this version of the library, has none of that name
            return
        given = (_Comparison * len(comparisons))(*comparisons)
        result = library.seccomp_rule_add_array(
            context, ctypes.c_uint32(action), ctypes.c_int(number), ctypes.c_uint(len(comparisons)), given
        )
        if result != 0:
            raise OSError(-result, f"seccomp_rule_add {name}: {os.strerror(-result)}")

    for name in _ALLOWED.split():
        add(_ALLOW, name)
    for name in _UNKNOWN:
        add(_SAY_UNKNOWN, name)
    # Threads and processes, but no name spaces of their own.
    spaces = _MOUNTS | _IPC | _USERS | _PROCESSES | _NETWORK | _NAMES | 0x02000000 | 0x00000080
    add(_ALLOW, "clone", _Comparison(0, _EQUAL_MASKED, spaces, 0))
    for control in _CONTROLS:
        add(_ALLOW, "ioctl", _Comparison(1, _EQUAL, control, 0))
    for family in _FAMILIES:
        add(_ALLOW, "socket", _Comparison(0, _EQUAL, family, 0))
    add(
        _ALLOW,
        "socketpair",
        _Comparison(0, _EQUAL, _UNIX, 0),
        _Comparison(1, _EQUAL_MASKED, _KIND, _STREAM),
    )

    def load() -> None:
        if (result := library.seccomp_load(context)) != 0:
            raise OSError(-result, f"seccomp_load: {os.strerror(-result)}")

    return load


if __name__ == "__main__":
    main()
