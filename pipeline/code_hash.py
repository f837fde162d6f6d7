"""Hashes of what a node depends on but TFX's cache does not see: the code that it runs, and local folders."""

import ast
import hashlib
import importlib.metadata
from pathlib import Path

REPOSITORY_ROOT = Path(__file__).resolve().parents[1]
_PACKAGES = ("components", "configs", "pipeline")
# What an upgrade of these computes may differ, so their versions belong to the code.
_VERSIONS_OF = (
    "apache-beam",
    "keras",
    "keras-hub",
    "langdetect",
    "tensorflow",
    "tensorflow-text",
    "tensorflow-transform",
    "tfx",
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
    for name, path in sorted(_closure(modules).items()):
        digest.update(f"{name}\0".encode() + path.read_bytes() + b"\0")
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
    """Returns the hashes of a preset folder and of its tokenizer; "" for a handle: what it names is not looked up here.

    A handle without a version (`hf://…`) can change upstream without being seen; the run's record has the hash of the
    weights that were loaded.
    """
    if not Path(preset).is_dir():
        return "", ""
    return hash_folder(preset), hash_folder(preset, "tokenizer.json") + hash_folder(preset, "assets/**/*")


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
