"""The environment is what the lock says; and nothing of one machine is in the repository."""

import itertools
import re
import subprocess
import sys
import sysconfig
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pipeline import environment

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ("requirements.txt", "requirements-jax.txt", "requirements-dev.txt")
# Of machines with accelerators: not installed where tests run.
ALL_LOCKS = (*LOCKS, "requirements-cuda.txt", "requirements-tpu.txt")


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def read_pins(lock: str) -> dict[str, str]:
    return dict(re.findall(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)", read(lock), re.MULTILINE))


def read_requirements(name: str) -> list[Requirement]:
    lines = [line.split("#")[0].strip() for line in read(name).splitlines()]
    return [Requirement(line) for line in lines if line and not line.startswith("-")]


@pytest.mark.parametrize(
    ("asked", "lock"),
    [
        ("requirements.in", "requirements.txt"),
        ("requirements-overrides.txt", "requirements.txt"),
        ("requirements-jax.in", "requirements-jax.txt"),
        ("requirements-jax.in", "requirements-dev.txt"),
        ("requirements-dev.in", "requirements-dev.txt"),
        ("requirements-cuda.in", "requirements-cuda.txt"),
        ("requirements-tpu.in", "requirements-tpu.txt"),
    ],
)
def test_lock_gives_what_is_asked_for(asked: str, lock: str):
    pins = read_pins("requirements.txt") | read_pins(lock)
    for requirement in read_requirements(asked):
        pin = pins.get(canonicalize_name(requirement.name))
        assert pin is not None, f"{requirement.name} of {asked} is not locked: run `make lock`"
        assert requirement.specifier.contains(pin, prereleases=True), f"{asked} asks for {requirement}, locked is {pin}"


def test_locks_agree_with_each_other():
    for one, other in itertools.combinations(map(read_pins, ALL_LOCKS), 2):
        common = one.keys() & other.keys()
        assert {name: one[name] for name in common} == {name: other[name] for name in common}


@pytest.mark.parametrize("lock", ALL_LOCKS)
def test_every_pin_has_a_hash(lock: str):
    blocks = re.split(r"^(?=[A-Za-z0-9])", read(lock), flags=re.MULTILINE)[1:]
    assert len(blocks) == len(read_pins(lock))
    assert [block.split()[0] for block in blocks if "--hash=sha256:" not in block] == []


def test_every_override_has_its_reason():
    paragraphs = [p for p in read("requirements-overrides.txt").split("\n\n") if re.search(r"^[a-z]", p, re.MULTILINE)]
    assert paragraphs
    for paragraph in paragraphs:
        assert paragraph.startswith("# "), f"say why, in a comment above:\n{paragraph}"


@pytest.mark.parametrize(
    ("lock", "packages"),
    [
        ("requirements-cuda.txt", {"nvidia-cudnn-cu12", "nvidia-nccl-cu12", "jax-cuda12-plugin", "jax-cuda12-pjrt"}),
        ("requirements-tpu.txt", {"libtpu"}),
    ],
)
def test_locks_of_accelerators_add_to_the_base(lock: str, packages: set[str]):
    added = read_pins(lock).keys() - read_pins("requirements.txt").keys() - read_pins("requirements-jax.txt").keys()
    assert packages <= added
    assert all(name.startswith(("nvidia-", "jax-cuda12-")) or name in {"libtpu", "wheel"} for name in added), added


@pytest.mark.parametrize("lock", LOCKS)
def test_installed_is_what_is_locked(lock: str):
    pins = read_pins(lock)
    installed = {name: metadata.version(name) for name in pins}
    assert installed == pins


def test_nothing_else_is_installed():
    pins = set().union(*map(read_pins, LOCKS))
    # Only what lies in the environment itself: setuptools puts copies of its own on the path once it is imported.
    here = metadata.distributions(path=[sysconfig.get_path("purelib")])
    installed = {canonicalize_name(d.metadata["Name"]) for d in here if d.metadata["Name"]}
    assert installed - {canonicalize_name(name) for name in pins} <= {"pip", "setuptools"}


def test_data_validation_needs_tfx_first():
    """Tells when the workaround has become needless.

    tensorflow-data-validation 1.16.1 imports a module that tfx-bsl 1.21 dropped; `import tfx` supplies it. When the first
    half fails, remove the override and every `isort: skip` that keeps the order.
    """
    alone = subprocess.run(
        [sys.executable, "-c", "import tensorflow_data_validation"], capture_output=True, text=True, check=False
    )
    assert "cannot import name 'sql_util'" in alone.stderr
    after = subprocess.run(
        [sys.executable, "-c", "import tfx, tensorflow_data_validation"], capture_output=True, text=True, check=False
    )
    assert after.returncode == 0, after.stderr


# --- .venv is made whole, or not taken as good


@pytest.fixture
def fake_tools(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Replaces venv and pip; returns the list of what was done."""
    done: list[str] = []

    def run(command: list[str], check: bool) -> None:
        done.append("venv" if "venv" in command else f"uninstall {command[-1]}")
        if "venv" in command:
            venv = Path(command[-1])
            venv.mkdir(exist_ok=True)
            for path in venv.iterdir():
                path.unlink()

    monkeypatch.setattr(environment.subprocess, "run", run)
    monkeypatch.setattr(environment, "run_pip", lambda command, venv, wanted, name: done.append(f"install {name}"))
    return done


def test_environment_follows_the_lock(tmp_path: Path, fake_tools: list[str]):
    venv, base, dev = tmp_path / ".venv", tmp_path / "requirements.txt", tmp_path / "requirements-dev.txt"
    base.write_text("a==1\nb==1\n")
    dev.write_text("c==1\n")
    for lock in (base, dev, base, dev):
        environment.install(venv, lock)
    assert fake_tools == ["venv", "install requirements.txt", "install requirements-dev.txt"]
    fake_tools.clear()
    base.write_text("a==2\n")
    environment.install(venv, base)
    environment.install(venv, dev)
    assert fake_tools == ["install requirements.txt", "uninstall b"]


@pytest.mark.parametrize("broken_lock", LOCKS)
def test_an_interrupted_installation_starts_afresh(
    tmp_path: Path, fake_tools: list[str], monkeypatch: pytest.MonkeyPatch, broken_lock: str
):
    venv = tmp_path / ".venv"
    for lock in LOCKS:
        (tmp_path / lock).write_text("a==1\n")
        if lock != broken_lock:
            environment.install(venv, tmp_path / lock) if lock == "requirements.txt" else None

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(environment, "run_pip", interrupt)
        with pytest.raises(KeyboardInterrupt):
            environment.install(venv, tmp_path / broken_lock)
    fake_tools.clear()
    environment.install(venv, tmp_path / "requirements.txt")
    assert fake_tools == ["venv", "install requirements.txt"]


def test_missing_interpreter_is_named(tmp_path: Path):
    done = subprocess.run(
        ["make", "venv", "PYTHON=no-such-python", f"VENV={tmp_path / 'venv'}"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "no command 'no-such-python'" in done.stderr


def test_problems_of_a_machine_come_all_at_once(monkeypatch: pytest.MonkeyPatch):
    assert environment.list_problems(fresh=False) == []
    monkeypatch.setattr(environment.sys, "version_info", (3, 13, 0, "final", 0))
    monkeypatch.setattr(environment.platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(environment.shutil, "which", lambda name: None)
    monkeypatch.setitem(sys.modules, "ensurepip", None)
    problems = "\n".join(environment.list_problems(fresh=False))
    for fact in ("CPython 3.11 is needed", "no glibc", "lacks ensurepip", "apt-get install g++"):
        assert fact in problems


# --- The repository


def test_no_path_of_one_machine():
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = []
    for name in filter(None, listed.stdout.split("\0")):
        content = (ROOT / name).read_bytes() if (ROOT / name).is_file() else b""
        if b"\0" in content or name == "Dockerfile":
            continue
        lines = content.decode("utf-8", errors="replace").splitlines()
        found += [f"{name}:{n}" for n, line in enumerate(lines, 1) if re.search(r"/(work|root|home/[a-z]+)/", line)]
    assert found == []


@pytest.mark.parametrize("lock", ALL_LOCKS)
def test_locks_name_no_host(lock: str):
    head = read(lock).split("==")[0]
    assert "make lock" in head
    assert not re.search(r"--(index|find-links|extra-index|trusted)", head)
