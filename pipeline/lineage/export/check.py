"""Checks a bill of materials that was received: is it valid, and is it as its signer has left it?"""

import json
from pathlib import Path
from typing import Any

from components.errors import UserError
from pipeline.lineage.export.keys import InvalidKeyError, load_public_key
from pipeline.lineage.export.schemas import SchemaMismatchError, check_bom
from pipeline.lineage.export.signature import SignatureError, Signer, verify


def check_file(path: str, public_key_path: str | None) -> Signer:
    """Returns who has signed a bill of materials.

    Args:
        path: Of the file.
        public_key_path: The signer's public key in PEM. Without it only changes are found, and not another signer.

    Raises:
        UserError: The file is no valid bill of materials, is not signed, or the signature does not hold.
    """
    trusted = load_public_key(public_key_path) if public_key_path else None
    bom = _read_bom(path)
    try:
        check_bom(bom)
        return verify(bom, trusted)
    except (SchemaMismatchError, SignatureError, InvalidKeyError) as problem:
        raise UserError(
            f"--check needs a valid bill of materials that is signed and as its signer left it. Received {path}: {problem}. "
            "Ask whoever sent it, or export it again with --sign-key."
        ) from problem


def _read_bom(path: str) -> dict[str, Any]:
    rule = "--check needs a CycloneDX bill of materials in JSON"
    try:
        text = Path(path).read_bytes().decode("utf-8")
        bom = json.loads(text, object_pairs_hook=_refuse_repeated, parse_constant=_refuse_constant)
    except OSError as error:
        raise UserError(f"{rule}. Received: {path} ({error.strerror}).") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{rule}. Received: {path}, which is no JSON ({error}).") from error
    if not isinstance(bom, dict) or bom.get("bomFormat") != "CycloneDX":
        raise UserError(f"{rule}. Received: {path}, which is another kind of document.")
    return bom


def _refuse_repeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A key given twice means one thing to one reader and another to the next: what was signed would be open."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object has a key twice")
    return found


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number in JSON")
