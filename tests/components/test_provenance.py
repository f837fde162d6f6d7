"""Code, packages and machine that something was made with."""

import hashlib
import re
import subprocess

import pytest

from components import provenance


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "_ROOT", tmp_path)
    # Nothing above the folder counts either.
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    provenance.describe_code.cache_clear()
    yield tmp_path
    provenance.describe_code.cache_clear()


def call_git(root, *arguments: str) -> str:
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    done = subprocess.run(["git", *identity, *arguments], cwd=root, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_repository(root):
    (root / "requirements.txt").write_text("x==1\n")
    call_git(root, "init", "-q")
    call_git(root, "add", ".")
    call_git(root, "commit", "-qm", "first")
    commit = call_git(root, "rev-parse", "HEAD")
    lock = hashlib.sha256(b"x==1\n").hexdigest()
    expected = {"code_version": commit, "code_dirty": "false", "lock_sha256": lock}
    assert provenance.describe_code() == expected
    (root / "new.py").write_text("")
    # A process tells what it was started with.
    assert provenance.describe_code() == expected
    provenance.describe_code.cache_clear()
    assert provenance.describe_code() == expected | {"code_dirty": "true"}


@pytest.mark.parametrize("version", ["0123abc-dirty", None])
def test_an_image_has_no_repository(root, monkeypatch, version):
    if version is None:
        monkeypatch.delenv("CODE_VERSION", raising=False)
    else:
        monkeypatch.setenv("CODE_VERSION", version)
    assert provenance.describe_code() == {
        "code_version": version or "unknown",
        "code_dirty": "unknown",
        "lock_sha256": "unknown",
    }


def test_hardware():
    assert re.fullmatch(r"\S.* x \d+, \d+\.\d GiB", provenance.describe_hardware())
