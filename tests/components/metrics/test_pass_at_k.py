"""Programs that a model has written: what passes, and what they cannot do."""

import contextlib
import gzip
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import time
import venv
from pathlib import Path

import pytest

from components.errors import UserError
from components.metrics import sandbox, sandbox_child
from components.metrics.metric import Prediction
from components.metrics.table import find_option_problems

LIMITS = {"seconds": 5, "memory_mib": 256}
OPTIONS = {"column": "program", "allow_code_execution": True}


pytestmark = pytest.mark.skipif(sandbox.find_problem() is not None, reason="this machine allows no name spaces")


@pytest.mark.parametrize(
    ("program", "passes"),
    [
        ("assert 1 + 1 == 2", True),
        ("assert 1 + 1 == 3", False),
        ("def f(:", False),
        ("raise SystemExit(0)", False),
        ("import os; os._exit(0)", False),
        ("print('0' * 64)", True),
        ("text = '\u00e9\ud800'".encode("utf-8", "replace").decode(), True),
        ("x = bytearray(2**30)", False),
        ("open('here', 'w').write('x'); assert open('here').read() == 'x'", True),
        ("open('here', 'w').write('x' * 2**21)", False),
        ("import os; assert not set(os.environ) - {'LC_CTYPE'}", True),
        ("import os\nfor _ in range(50): os.fork()", False),
        ("while True: print('x' * 2**16)", False),
    ],
)
def test_program(program, passes):
    assert sandbox.run_program(program, **LIMITS) is passes


def test_program_that_does_not_end():
    assert not sandbox.run_program("while True: pass", seconds=1, memory_mib=256)


def test_program_can_write_nothing_outside(tmp_path):
    place = tmp_path / "mine"
    place.write_text("kept")
    for program in (f"open({str(place)!r}, 'w')", f"import os; os.remove({str(place)!r})"):
        assert not sandbox.run_program(program, **LIMITS)
    assert place.read_text() == "kept"
    assert not sandbox.run_program(f"open({str(place)!r}).read()", **LIMITS), "nor read it"


def test_program_cannot_make_files_writable_again(tmp_path):
    unshare = "library.unshare(0x10000000 | 0x20000)"
    for first in ("0", unshare):
        program = f"import ctypes; library = ctypes.CDLL(None); {first}; assert library.mount(None, b'/', None, 0x1020, None) == 0"
        assert not sandbox.run_program(program, **LIMITS)
    # PR_CAPBSET_READ would tell what may come back; PR_GET_NO_NEW_PRIVS that nothing can.
    program = (
        "import ctypes, os; assert os.getuid() != 0 and ctypes.CDLL(None).prctl(39, 0, 0, 0, 0) == 1; os.setuid(0)"
    )
    assert not sandbox.run_program(program, **LIMITS)
    assert sandbox.run_program(program.removesuffix("; os.setuid(0)"), **LIMITS)


def test_program_has_no_network():
    with socket.create_server(("127.0.0.1", 0)) as server:
        program = f"import socket; socket.create_connection(('127.0.0.1', {server.getsockname()[1]}), timeout=1)"
        assert not sandbox.run_program(program, **LIMITS)


def test_program_has_no_sockets_of_this_machine(tmp_path):
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        assert not sandbox.run_program(f"import socket; socket.socket(socket.AF_UNIX).connect({path!r})", **LIMITS)
    assert sandbox.run_program("import socket; socket.socket(socket.AF_INET)", **LIMITS)


@pytest.mark.parametrize(
    "attempt",
    [
        "os.listdir('/proc')",
        "open('/etc/passwd')",
        "os.listdir(os.path.expanduser('~'))",
        "os.listdir('/var')",
        "open('/usr/mine', 'w')",
        "os.mknod('/tmp/device', 0o600 | stat.S_IFBLK, os.makedev(7, 0))",
        "os.mkfifo('/usr/fifo')",
        "socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)",
        "socket.socket(socket.AF_UNIX)",
        "socket.socket(40)",  # to the host of a virtual machine
        "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
        "socket.socket(38, socket.SOCK_SEQPACKET)",  # the kernel's cryptography
        "fcntl.flock(open(sys.executable), fcntl.LOCK_SH)",
        "os.memfd_create('x')",
        "os.chroot('/tmp')",
        "os.setns(0)",
        "check(libc.shmget(0, 1 << 20, 0o1600))",
        "check(libc.msgget(0, 0o1600))",
        "check(libc.semget(0, 1, 0o1600))",
        "check(libc.unshare(0x10000000))",
        "check(libc.ptrace(0, 0, 0, 0))",
        "check(libc.mount(b'tmpfs', b'/tmp', b'tmpfs', 0, None))",
        "check(libc.syscall(SYSCALLS['keyctl'], 0, -3, 0))",
        "check(libc.syscall(SYSCALLS['add_key'], b'user', b'x', b'x', 1, -3))",
        "check(libc.syscall(SYSCALLS['bpf'], 0, 0, 0))",
        "check(libc.syscall(SYSCALLS['userfaultfd'], 1))",
        "check(libc.syscall(SYSCALLS['perf_event_open'], 0, 0, 0, 0, 0))",
        "check(libc.syscall(425, 8, 0))",  # io_uring_setup
    ],
)
def test_what_is_not_needed_is_denied(attempt):
    numbers = {
        "x86_64": {"keyctl": 250, "add_key": 248, "bpf": 321, "userfaultfd": 323, "perf_event_open": 298},
        "aarch64": {"keyctl": 219, "add_key": 217, "bpf": 280, "userfaultfd": 282, "perf_event_open": 241},
    }[platform.machine()]
    program = f"""
import ctypes, fcntl, glob, os, socket, stat, sys
libc = ctypes.CDLL(None, use_errno=True)
SYSCALLS = {numbers}
os.setns = getattr(os, "setns", lambda _: check(libc.setns(0, 0)))
def check(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), "refused")
try:
    {attempt}
except OSError:
    pass
else:
    raise SystemExit("it was possible")
"""
    assert sandbox.run_program(program, **LIMITS)


@pytest.mark.parametrize(
    ("call", "on_x86", "on_arm"),
    [
        ("request_key", "249, 0, 0, 0, 0", "218, 0, 0, 0, 0"),
        ("setns", "308, -1, 0", "268, -1, 0"),
        ("chroot", "161, 0", "51, 0"),
        ("mount", "165, 0, 0, 0, 0, 0", "40, 0, 0, 0, 0, 0"),
        ("perf_event_open", "298, 0, 0, -1, -1, 0", "241, 0, 0, -1, -1, 0"),
        ("io_uring_setup", "425, 8, 0", "425, 8, 0"),
        ("ioctl that takes room on a disk", "16, 1, 0x40305828, 0", "29, 1, 0x40305828, 0"),
        ("ioctl that reads a file's flags", "16, 1, 0x80086601, 0", "29, 1, 0x80086601, 0"),
        ("clone with a name space of users", "56, 0x10000011, 0, 0, 0, 0", "220, 0x10000011, 0, 0, 0, 0"),
    ],
)
def test_the_filter_refuses_before_the_kernel_looks_at_arguments(call, on_x86, on_arm):
    """Without the filter the answer is EFAULT or EBADF, or for the last one a process."""
    arguments = {"x86_64": on_x86, "aarch64": on_arm}[platform.machine()]
    program = f"""
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
result = libc.syscall({arguments})
assert result == -1 and ctypes.get_errno() in (errno.EPERM, errno.ENOSYS), (result, os.strerror(ctypes.get_errno()))
"""
    assert sandbox.run_program(program, **LIMITS), call


def test_what_python_asks_of_its_files_is_allowed():
    program = """
import fcntl, os, shutil, subprocess, sys, tempfile, termios
reader, writer = os.pipe()
os.set_inheritable(writer, True)
os.set_inheritable(writer, False)
os.set_blocking(reader, False)
os.write(writer, b"x")
assert int.from_bytes(fcntl.ioctl(reader, termios.FIONREAD, bytes(4)), "little") == 1
assert not any(os.isatty(number) for number in (0, 1, 2, reader))
assert shutil.get_terminal_size((1, 2)) == (1, 2)
assert subprocess.run([sys.executable, "-c", "print(1)"], capture_output=True).stdout == b"1\\n"
with tempfile.TemporaryFile() as file:
    assert not file.isatty()
"""
    assert sandbox.run_program(program, **LIMITS)


@pytest.mark.parametrize("place", ["/usr", "sys.prefix", "os.path.dirname(os.__file__)"])
def test_what_programs_share_with_this_machine_is_read_only(place):
    shown = repr(place) if place.startswith("/") else place
    program = f"import os, sys; flags = os.statvfs({shown}).f_flag; assert all(flags & f for f in (os.ST_RDONLY, os.ST_NOSUID, os.ST_NODEV))"
    assert sandbox.run_program(program, **LIMITS)


@pytest.mark.parametrize(
    "program",
    [
        "import glob; assert {*glob.glob('/dev/*')} == {'/dev/null', '/dev/zero', '/dev/random', '/dev/urandom'}, glob.glob('/dev/*')",
        "import asyncio\nassert asyncio.run(asyncio.sleep(0, 7)) == 7",
        "import threading\nfound = []\nt = threading.Thread(target=found.append, args=[1])\nt.start()\nt.join()\nassert found == [1]",
        "import subprocess, sys\nassert subprocess.check_output([sys.executable, '-c', 'print(7)']) == b'7\\n'",
        "import tempfile\nwith tempfile.TemporaryDirectory() as d: open(d + '/x', 'w').write('x')",
        "import random, hashlib, decimal, datetime, json, re, collections, itertools, functools, statistics, heapq, zlib, ssl, sqlite3",
        "if __name__ == '__main__':\n    import os\n    open('/dev/null', 'w').write('x')\n    assert os.urandom(3)",
        "import sys, io\nsys.stdout = io.StringIO()\nprint('away')",
        "import signal, time\nsignal.signal(signal.SIGALRM, lambda *_: None)\nsignal.setitimer(signal.ITIMER_REAL, 0.01)\ntime.sleep(0.05)",
    ],
)
def test_what_ordinary_programs_do_works(program):
    assert sandbox.run_program(program, **LIMITS)


@pytest.mark.parametrize("target", ["0", "1", "-1", "os.getppid()"])
@pytest.mark.parametrize("kills", [False, True])
def test_signals_reach_nobody_else(target, kills):
    program = f"""
import os, signal, time
for number in [signal.SIGKILL] if {kills} else signal.valid_signals() - {{signal.SIGKILL, signal.SIGSTOP}}:
    try:
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_IGN)
        os.kill({target}, number)
    except OSError:
        pass
time.sleep(0.05)
"""
    passed = sandbox.run_program(program, **LIMITS)  # no error, which would end the evaluation
    assert passed or kills
    assert sandbox.run_program("assert True", **LIMITS)


def test_processes_and_files_are_counted_whoever_starts_it():
    forks = "import os\nn = 0\ntry:\n    while os.fork(): n += 1\n    os._exit(0)\nexcept OSError: pass\nassert n < 17"
    assert sandbox.run_program(forks, **LIMITS)
    files = "n = 0\ntry:\n    while True:\n        open(f'f{n}', 'w').close()\n        n += 1\nexcept OSError: pass\nassert n < 1100"
    assert sandbox.run_program(files, **LIMITS)


def test_the_mark_is_in_no_frame_and_no_constant():
    program = """
import gc, os, sys
frame, seen = sys._getframe(), []
while frame:
    seen += [*frame.f_code.co_consts, *frame.f_locals.values(), *frame.f_globals.values()]
    frame = frame.f_back
seen += [value for held in gc.get_objects() if isinstance(held, dict) for value in held.values()]
for value in seen:
    text = value if isinstance(value, bytes) else value.encode("utf-8", "replace") if isinstance(value, str) else b""
    if len(text) == 64 and not set(text) - set(b"0123456789abcdef"):
        os.write(1, text + b"\\n")
os._exit(0)
"""
    assert not sandbox.run_program(program, **LIMITS)


def test_as_another_user_than_root(tmp_path):
    """With a name space of users, as most people have it; these tests are often run by root."""
    python = "/usr/bin/python3"
    if os.geteuid() != 0 or not os.path.exists(python):
        pytest.skip("needs root, to become somebody else, and a Python that everybody can read")
    tmp_path.chmod(0o755)
    for parent in [*tmp_path.parents][:3]:
        parent.chmod(0o755)
    package = tmp_path / "components" / "metrics"
    package.mkdir(parents=True)
    for name in ("errors.py", "metrics/sandbox.py", "metrics/sandbox_child.py"):
        shutil.copy(Path(sandbox.__file__).parents[1] / name, tmp_path / "components" / name)
    script = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\nfrom components.metrics.sandbox import run_program\n"
        "limits = dict(seconds=5, memory_mib=256)\n"
        "fork = 'import os\\nn = 0\\ntry:\\n    while os.fork(): n += 1\\n    os._exit(0)\\nexcept OSError: pass\\nassert n < 17'\n"
        "programs = ['assert True', 'assert False', 'import os; assert os.getuid() == 1000', 'open(\"/etc/passwd\")', fork]\n"
        "print([run_program(program, **limits) for program in programs])"
    )
    done = subprocess.run(
        [python, "-c", script],
        user=65534,
        group=65534,
        extra_groups=[],
        cwd="/",
        capture_output=True,
        text=True,
        timeout=120,
    )
    if "Operation not permitted" in done.stderr and "unshare" in done.stderr:
        pytest.skip("this machine allows name spaces to root alone")
    assert done.stdout.strip() == "[True, False, True, False, True]", done.stderr


def list_process_names() -> set[str]:
    names = set()
    for path in Path("/proc").glob("[0-9]*/comm"):
        with contextlib.suppress(OSError):  # it has ended
            names.add(path.read_text().strip())
    return names


def test_program_that_leaves_its_group_is_ended_as_well():
    # Other tests run programs at the same time: this one gives itself a name (PR_SET_NAME).
    name = f"left-{os.getpid()}"
    program = (
        "import os, time, ctypes\nos.setsid()\nlibc = ctypes.CDLL(None)\nlibc.prctl(1, 0)\n"
        f"libc.prctl(15, {name.encode()!r}, 0, 0, 0)\ntime.sleep(77)"
    )
    assert not sandbox.run_program(program, seconds=1, memory_mib=256)
    # The kernel ends what is left of a name space after its first process has been waited for.
    deadline = time.monotonic() + 10
    while name in list_process_names():
        assert time.monotonic() < deadline


def test_program_that_prints_at_its_end_and_one_that_ends_as_if_not_shut_in():
    assert sandbox.run_program("import atexit; atexit.register(print, 'bye')", **LIMITS)
    assert not sandbox.run_program("raise SystemExit(97)", **LIMITS)


def test_what_a_program_starts_ends_with_it(tmp_path):
    marker = f"marker-{tmp_path.name}"
    program = f"import os\nif os.fork() == 0:\n    os.setsid()\n    os.execv({sys.executable!r}, ['{marker}', '-c', 'while True: pass'])"
    assert sandbox.run_program(program, **LIMITS)
    names = [p.read_bytes() for p in Path("/proc").glob("[0-9]*/cmdline") if p.exists()]
    assert not any(marker.encode() in name for name in names)


def test_without_name_spaces_nothing_runs(monkeypatch, tmp_path):
    child = tmp_path / "child.py"
    source = Path(sandbox_child.__file__).read_text()
    child.write_text(
        source.replace('_call("unshare", ', "raise PermissionError(1, 'unshare: not here')\n    _call('', ")
    )
    monkeypatch.setattr(sandbox_child, "__file__", str(child))
    with pytest.raises(UserError, match=r"unshare: not here. Nothing was run"):
        sandbox.run_program("", **LIMITS)
    assert "unshare: not here" in sandbox.find_problem()


def test_pass_at_k_of_several_completions(compute):
    program = "def f():\n    return {{completion}}\n\nassert f() == 1"
    predictions = [
        Prediction(completion="1", other_completions=("2", "3", "4"), columns={"program": program}),
        Prediction(completion="2", other_completions=("1", "1", "2"), columns={"program": program}),
        Prediction(completion="1", columns={"program": program}),  # too few for k = 2
    ]
    values = compute("pass_at_k", predictions, k=[1, 2], **OPTIONS)
    # 1 - C(3, 2) / C(4, 2) = 1/2; 1 - C(2, 2) / C(4, 2) = 5/6
    assert values == {
        "pass_at_1": pytest.approx((1 / 4 + 2 / 4 + 1) / 3),
        "pass_at_2": pytest.approx((1 / 2 + 5 / 6) / 2),
    }


def test_program_without_a_place_for_the_completion(compute):
    with pytest.raises(UserError, match="must hold a program with"):
        compute("pass_at_k", [Prediction(completion="1", columns={"program": ""})], **OPTIONS)


def test_options_are_checked():
    assert (
        "runs programs that a model has written"
        in find_option_problems("pass_at_k", {"column": "p"})["allow_code_execution"]
    )
    found = find_option_problems("pass_at_k", {**OPTIONS, "k": [0], "seconds": 0})
    assert "k" in found
    assert "seconds" in found


def test_humanevals_own_solutions_pass(compute):
    path = Path(__file__).resolve().parents[4] / "shared" / "data" / "humaneval" / "HumanEval.jsonl.gz"
    if not path.is_file():
        pytest.skip("real data are not here: HumanEval.jsonl.gz")
    predictions = []
    for line in gzip.decompress(path.read_bytes()).decode().splitlines():
        task = json.loads(line)
        program = f"{task['prompt']}{{{{completion}}}}\n\n{task['test']}\n\ncheck({task['entry_point']})\n"
        predictions.append(Prediction(completion=task["canonical_solution"], columns={"program": program}))
    assert len(predictions) == 164
    assert compute("pass_at_k", predictions, **OPTIONS, seconds=20) == {"pass_at_1": 1.0}
    empty = [Prediction(completion="    pass\n", columns=prediction.columns) for prediction in predictions[:40]]
    assert compute("pass_at_k", empty, **OPTIONS) == {"pass_at_1": 0.0}


@pytest.mark.parametrize("linked", [False, True])
def test_python_may_lie_below_the_folder_of_temporary_files(linked, tmp_path):
    venv.create(tmp_path / "there", symlinks=True, with_pip=False)
    if linked:
        (tmp_path / "link").symlink_to(tmp_path / "there")
    python = tmp_path / ("link" if linked else "there") / "bin" / "python"
    script = "from components.metrics import sandbox; print(sandbox.find_problem())"
    done = subprocess.run(
        [python, "-c", script], cwd=Path(__file__).parents[3], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("None\n", "")
