"""Makes `.venv` from a lock file, after checking that this machine can hold it. Called by the Makefile.

Standard library only, and no syntax newer than Python 3.6: whatever interpreter is found must get as far as saying what
is wrong with it.

    python3.11 -I pipeline/environment.py .venv requirements.txt
"""

import fcntl
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

PYTHON = (3, 11)
# The oldest glibc that has a wheel of every locked package.
GLIBC = (2, 28)
GIB_NEEDED = 6
BASE_LOCK = "requirements.txt"
PIN = re.compile(r"^([A-Za-z0-9._-]+)==", re.MULTILINE)


def list_problems(fresh):
    """Lists what this machine lacks, each with the way out. `fresh`: there is no environment yet."""
    problems = []
    dotted = ".".join(map(str, PYTHON))
    if sys.version_info[:2] != PYTHON or platform.python_implementation() != "CPython":
        problems.append(
            f"CPython {dotted} is needed, the newest version that every locked package has a wheel for. Received: "
            f"{platform.python_implementation()} {platform.python_version()} ({sys.executable}). "
            f"Install it and name it: make PYTHON=/path/to/python{dotted} ..."
        )
    libc, libc_version = platform.libc_ver()
    glibc = tuple(int(part) for part in re.findall(r"\d+", libc_version)[:2]) if libc == "glibc" else ()
    if (sys.platform, platform.machine()) != ("linux", "x86_64") or glibc < GLIBC:
        problems.append(
            "Linux on x86-64 with glibc {}.{} or newer is needed (Debian 10, Ubuntu 20.04, RHEL 8 and later). Received: "
            "{} on {}, {} {}. Elsewhere, use the container image (`make image`).".format(
                *GLIBC, sys.platform, platform.machine(), libc or "no glibc", libc_version
            )
        )
    try:
        import ensurepip  # noqa: F401 - Debian splits both off the interpreter
        import venv  # noqa: F401
    except ImportError as error:
        problems.append(
            f"The interpreter lacks {error.name}. On Debian and Ubuntu: apt-get install python{dotted}-venv"
        )
    compiler = os.environ.get("CXX", "").split(" ")[0] or "c++"
    headers = Path(sysconfig.get_path("include")) / "Python.h"
    if not (shutil.which(compiler) or shutil.which("g++")) or not headers.is_file():
        problems.append(
            "A C++ compiler and Python's header files are needed: pyfarmhash is published as source only. "
            f"On Debian and Ubuntu: apt-get install g++ python{dotted}-dev"
        )
    free = shutil.disk_usage(".").free / 2**30
    if fresh and free < GIB_NEEDED:
        problems.append(f"{GIB_NEEDED} GiB of free disk space are needed, {free:.1f} are left here.")
    return problems


def install(venv, lock):
    """Brings `venv` to the state of `lock`.

    A copy of each installed lock lies in the environment and says that the installation was finished. The base lock's
    copy is away while anything is being installed: without it the next call starts from an empty environment, so one
    that was left half done is never taken as good.
    """
    base_stamp, stamp = venv / BASE_LOCK, venv / lock.name
    wanted, installed = lock.read_text(), stamp.read_text() if stamp.is_file() else ""
    if wanted == installed:  # another make was quicker
        return
    base = base_stamp.read_text() if base_stamp.is_file() else ""
    if base:
        base_stamp.unlink()
    elif lock.name == BASE_LOCK:
        subprocess.run([sys.executable, "-I", "-m", "venv", "--clear", str(venv)], check=True)
    else:
        sys.exit(f"{venv} is not complete. Install {BASE_LOCK} first.")
    python = str(venv / "bin" / "python")
    run_pip(
        [python, "-I", "-m", "pip", "install", "--no-deps", "--require-hashes", "-r", str(lock)],
        venv,
        wanted,
        lock.name,
    )
    other_locks = [path.read_text() for path in venv.glob("requirements*.txt") if path != stamp]
    dropped = set(PIN.findall(installed)).difference(PIN.findall(wanted), *map(PIN.findall, other_locks))
    if dropped:
        subprocess.run([python, "-I", "-m", "pip", "uninstall", "--quiet", "--yes", *sorted(dropped)], check=True)
    stamp.write_text(wanted)
    if lock.name != BASE_LOCK:
        base_stamp.write_text(base)


def run_pip(command, venv, wanted, name):
    """Runs pip, whose hundreds of lines become one moving line; after a failure its last lines are shown."""
    total, started, shown = len(PIN.findall(wanted)), time.monotonic(), 0.0
    log_path = venv / "install.log"
    to_terminal = sys.stderr.isatty()
    with log_path.open("w") as log:
        process = subprocess.Popen([*command, "--progress-bar", "off"], stdout=log, stderr=subprocess.STDOUT)
        try:
            while process.poll() is None:
                time.sleep(0.2)
                if time.monotonic() - shown >= (1 if to_terminal else 20):
                    shown = time.monotonic()
                    text = describe_progress(log_path.read_text(errors="replace"), total, venv)
                    line = f"{venv}: {name}: {text}, {shown - started:.0f} s"
                    print(
                        "\r\033[K" + line if to_terminal else line,
                        end="" if to_terminal else "\n",
                        file=sys.stderr,
                        flush=True,
                    )
        finally:
            process.kill()
            if to_terminal:
                print("\r\033[K", end="", file=sys.stderr)
    if process.returncode:
        tail = "".join(log_path.read_text(errors="replace").splitlines(keepends=True)[-25:])
        sys.exit(f"{tail}\npip failed (exit {process.returncode}); all of its output: {log_path}")
    print(f"{venv}: {name}: {total} packages, {time.monotonic() - started:.0f} s", file=sys.stderr)


def describe_progress(log, total, venv):
    """Says how far pip is: by its log while it fetches, by what lies in the environment while it installs."""
    if "Installing collected packages" in log:
        here = sum(1 for _ in venv.glob("lib/python*/site-packages/*.dist-info"))
        return f"installing {total} packages, {here} in place"
    if "Building wheel" in log:
        return "building the packages that are published as source"
    fetched = len(re.findall(r"^(?:Collecting|Requirement already satisfied:) ", log, re.MULTILINE))
    return f"fetching package {min(fetched, total)} of {total}"


def main(arguments):
    """Checks the machine, then installs; exits with 1 and the reasons if it cannot."""
    venv, lock = map(Path, arguments)
    problems = list_problems(fresh=not (venv / BASE_LOCK).is_file())
    if problems:
        sys.exit("\n".join(["This machine cannot run the pipeline as it is:", *(f"  - {text}" for text in problems)]))
    with Path(__file__).open() as held:
        # Two makes at once, of whatever lock: the second waits, then finds the work done.
        fcntl.flock(held, fcntl.LOCK_EX)
        try:
            install(venv, lock)
        except KeyboardInterrupt:
            sys.exit(f"\nInterrupted: {venv} is not complete, the next make starts it afresh.")


if __name__ == "__main__":
    main(sys.argv[1:])
