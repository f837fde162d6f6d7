"""The packages of a run's lock: names, versions, and which needs which, as `uv` has written them."""

import hashlib
import re
from dataclasses import dataclass

from components.provenance import run_git
from pipeline.code_hash import REPOSITORY_ROOT

LOCK_NAME = "requirements.txt"
_PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^]]*])?==([^\s;\\]+)")
_VIA = re.compile(r"\s+# via(?: (\S.*))?|\s+#   (\S.*)")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, kw_only=True)
class Package:
    """One package of a lock.

    Attributes:
        name: Its normalized name.
        version: Its version.
        required_by: The packages that need it.
        is_direct: Whether the project itself asks for it.
    """

    name: str
    version: str
    required_by: tuple[str, ...]
    is_direct: bool


def read_lock(sha256: str, commit: str) -> str | None:
    """Returns the text of the lock with this hash: the one of this checkout, or that of the commit; None if neither has it.

    Args:
        sha256: As the run has recorded it.
        commit: Of the run; may be unknown.
    """
    here = REPOSITORY_ROOT / LOCK_NAME
    candidates = [here.read_bytes()] if here.is_file() else []
    if not any(hashlib.sha256(text).hexdigest() == sha256 for text in candidates):
        candidates = [text] if (text := _read_committed(commit)) else []
    return next((text.decode() for text in candidates if hashlib.sha256(text).hexdigest() == sha256), None)


def parse_lock(text: str) -> list[Package]:
    """Returns the packages of a lock, by name."""
    sources: dict[tuple[str, str], list[str]] = {}
    current: list[str] = []
    for line in text.splitlines():
        if match := _PIN.match(line):
            current = sources.setdefault((_normalize(match[1]), match[2]), [])
        elif match := _VIA.match(line):
            current.append(match[1] or match[2] or "")
    return [
        Package(
            name=name,
            version=version,
            required_by=tuple(sorted({_normalize(source) for source in found if _NAME.fullmatch(source)})),
            # Beside packages, uv names the files that ask for one: `-r requirements.in`, `--override ...`.
            is_direct=any(source.startswith("-r ") for source in found),
        )
        for (name, version), found in sorted(sources.items())
    ]


def _normalize(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name.split("[")[0]).lower()


def _read_committed(commit: str) -> bytes | None:
    return run_git("cat-file", "blob", f"{commit}:{LOCK_NAME}") if _COMMIT.fullmatch(commit) else None
