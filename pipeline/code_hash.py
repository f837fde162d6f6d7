"""Hashes of what a node depends on but TFX's cache does not see: the code that it runs, and local folders."""

import ast
import functools
import hashlib
import importlib.metadata
from pathlib import Path

from components.presets.handles import HUB, find_commit
from components.presets.side_files import SIDE_FILES, TERMS, find_side_file

REPOSITORY_ROOT = Path(__file__).resolve().parents[1]
_PACKAGES = ("components", "configs", "pipeline")
_DATA = (".json", ".pbtxt")
# What an upgrade of these computes may differ, so their versions belong to the code.
_VERSIONS_OF = (
    "apache-beam",
    "jinja2",
    "keras",
    "keras-hub",
    "langdetect",
    "sentencepiece",
    "tensorflow",
    "tensorflow-text",
    "tensorflow-transform",
    "tfx",
    "tokenizers",
)


def hash_code(*modules: str) -> str:
    """Returns the SHA-256 of the modules' source, of all of this project that they import, and of the stack's versions.

    TFX keys its cache on inputs and parameters; code named by dotted path is neither, so an edit would silently reuse
    the old result. This hash, given to the node as a parameter, prevents that.

    Args:
        modules: Dotted names, e.g. `components.trainer.module`.
    """
    digest = hashlib.sha256()
    for package in _VERSIONS_OF:
        digest.update(f"{package}=={importlib.metadata.version(package)}\0".encode())
    found = _closure(modules)
    for name, path in sorted(found.items()):
        digest.update(f"{name}\0".encode() + path.read_bytes() + b"\0")
    # Data that code reads lie beside it.
    folders = {path.parent for path in found.values()}
    for path in sorted(beside for folder in folders for beside in folder.iterdir() if beside.suffix in _DATA):
        digest.update(f"{path.name}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


def hash_folder(folder: str | Path, pattern: str = "**/*") -> str:
    """Returns the SHA-256 over names and contents of the files below `folder` that match, hidden ones left out."""
    root = Path(folder)
    digest = hashlib.sha256()
    for path in sorted(root.glob(pattern)):
        relative = path.relative_to(root)
        if path.is_file() and not any(part.startswith(".") for part in relative.parts):
            digest.update(f"{relative.as_posix()}\0{path.stat().st_size}\0".encode())
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def hash_preset(preset: str) -> tuple[str, str]:
    """Returns the hashes of a preset and of what its tokens depend on.

    For a folder they are those of its files; for an `hf://` handle, the commit of its state on this machine, which a run asks the hub for
    when it begins. "" for other names and handles, which are not looked up here: what they name can change without being
    seen, and the run's record has the hash of the weights that were loaded.
    """
    if preset.startswith(HUB):
        commit = find_commit(preset)
        return commit, commit
    if not Path(preset).is_dir():
        return "", ""
    state = tuple(
        (str(path), stat.st_size, stat.st_mtime_ns)
        for path in sorted(Path(preset).rglob("*"))
        if path.is_file()
        for stat in [path.stat()]
    )
    return _hash_preset_folder(preset, state)


@functools.lru_cache(maxsize=16)
def _hash_preset_folder(preset: str, state: tuple[tuple[str, int, int], ...]) -> tuple[str, str]:
    """Hashes gigabytes once, and not for each node that wants to know; `state` is the files' sizes and times."""
    del state
    tokenizer = hash_folder(preset, "tokenizer.json") + hash_folder(preset, "assets/**/*")
    # The publisher's rules, template and end tokens, where there are any.
    digest = hashlib.sha256()
    found = [path for name in SIDE_FILES if name not in TERMS and (path := find_side_file(preset, name))]
    for path in found:
        digest.update(f"{path.name}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    tokenizer += digest.hexdigest() if found else ""
    return hash_folder(preset), tokenizer


def _closure(modules: tuple[str, ...]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    pending = list(modules)
    while pending:
        name = pending.pop()
        path = _find(name)
        if path is None or name in found:
            continue
        found[name] = path
        # A package runs before its module.
        pending += [name.rpartition(".")[0]] if "." in name else []
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Import):
                pending += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                pending += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    if missing := [m for m in modules if m not in found]:
        raise ValueError(f"must be modules of this project ({', '.join(_PACKAGES)}). Received: {missing}.")
    return found


def _find(name: str) -> Path | None:
    if name.partition(".")[0] not in _PACKAGES:
        return None
    base = REPOSITORY_ROOT.joinpath(*name.split("."))
    for candidate in (base.with_suffix(".py"), base / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None
