"""JSON in its one canonical form (JCS, RFC 8785), and files that are written whole or not at all."""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from components.errors import UserError
from components.storage import whole_file

# Beyond, JSON's numbers are not exact (RFC 8785, section 3.2.2.3).
_LARGEST_INTEGER = 2**53 - 1


def to_canonical(value: Any) -> bytes:
    """Returns the canonical form: sorted keys, no blanks, UTF-8. Equal values have equal bytes, so that they can be signed.

    Raises:
        ValueError: A number is not finite, or an integer too large to be exact.
    """
    import rfc8785

    return rfc8785.dumps(value)


def make_exact(value: Any) -> Any:
    """Returns a value of the metadata store as JSON can hold it exactly: numbers that it cannot hold become text."""
    if isinstance(value, Mapping):
        return {str(key): make_exact(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [make_exact(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > _LARGEST_INTEGER:
        return str(value)
    return value


def to_text(value: Any) -> str:
    """Returns a value of the metadata store as text, for formats that hold text alone."""
    return value if isinstance(value, str) else json.dumps(make_exact(value), sort_keys=True, ensure_ascii=False)


def write_whole(path: str, parts: Iterable[bytes]) -> tuple[str, int]:
    """Writes a file whole or not at all; one that is there is replaced at once.

    Args:
        path: The file.
        parts: Its content, in order. If they end with an exception, nothing is written.

    Returns:
        The SHA-256 of the content, and the number of parts.

    Raises:
        UserError: It cannot be written.
    """
    target = Path(path)
    digest, count = hashlib.sha256(), 0
    try:
        with whole_file(target) as file:
            for part in parts:
                file.write(part)
                digest.update(part)
                count += 1
    except OSError as error:
        raise UserError(
            f"--output must be a file in a folder that is there and can be written. Received: {path} ({error.strerror}). "
            "Make the folder, or give another one."
        ) from error
    return digest.hexdigest(), count
