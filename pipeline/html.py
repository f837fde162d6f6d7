"""Writes HTML pages, whole or not at all."""

import os
from pathlib import Path

from components.errors import UserError


def write_whole(path: Path, page: str) -> None:
    """Writes a page, whole or not at all.

    Raises:
        UserError: The file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_text(page, encoding="utf-8")
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(
            f"The page must be a file in a folder that you can write to. Received: {path} ({error.strerror}). "
            "Give another one with --html."
        ) from error
