"""The licence of a preset, as its own folder states it: nothing is guessed, and nothing is looked up elsewhere."""

import re
from pathlib import Path
from typing import Any

import yaml

_CARD = "README.md"
# A model card of Hugging Face begins with YAML between two lines of dashes.
_FRONT_MATTER = re.compile(r"\A---\r?\n(.*?)\r?\n---\r?$", re.DOTALL | re.MULTILINE)
_FILES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE")
_LARGEST_BYTES = 2**20


def read_licences(preset: str) -> list[dict[str, Any]]:
    """Returns the licences of a preset folder in CycloneDX' form; none for what is no folder here, or states none.

    The card's `license` (an SPDX identifier, or a name of its own), else the text of a licence file beside it.

    Args:
        preset: A folder, or a name or handle.
    """
    folder = Path(preset)
    if "://" in preset or not folder.is_dir():
        return []
    if (stated := _read_card(folder / _CARD)) and isinstance(name := stated.get("license"), str) and name.strip():
        return [{"license": _name_licence(name.strip(), stated)}]
    for file in _FILES:
        if text := _read(folder / file):
            return [{"license": {"name": file, "text": {"content": text}}}]
    return []


def _name_licence(name: str, stated: dict[str, Any]) -> dict[str, str]:
    if identifier := _find_spdx(name):
        return {"id": identifier}
    own = stated.get("license_name")
    return {"name": own if isinstance(own, str) and own else name}


def _find_spdx(name: str) -> str | None:
    # Hugging Face writes SPDX identifiers in small letters.
    from license_expression import get_spdx_licensing

    symbols = get_spdx_licensing().known_symbols
    return next((key for key in symbols if key.lower() == name.lower() and not key.startswith("LicenseRef")), None)


def _read_card(path: Path) -> dict[str, Any]:
    match = _FRONT_MATTER.match(_read(path))
    if match is None:
        return {}
    try:
        stated = yaml.safe_load(match[1])
    except yaml.YAMLError:
        return {}
    return stated if isinstance(stated, dict) else {}


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8") if path.stat().st_size <= _LARGEST_BYTES else ""
    except (OSError, UnicodeDecodeError):
        return ""
