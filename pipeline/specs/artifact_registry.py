"""The artifacts of local runs of compiled pipelines: stands in for the metadata store of Vertex AI."""

import fcntl
import json
import re
import threading
from pathlib import Path
from typing import Any

from components.errors import UserError
from components.storage import whole_file

_CONDITION = re.compile(r'\s*(?P<field>[\w.]+)\s*=\s*"?(?P<value>[^"]*)"?\s*')
_FIELDS = {"name", "title", "uri", "metadata", "state"}


class ArtifactRegistry:
    """Remembers artifacts in a JSON file, and answers the queries of resolvers; safe between threads and between processes."""

    def __init__(self, path: Path):
        """Reads nothing yet.

        Args:
            path: The file; is made when the first artifact is added.
        """
        self._path = path
        self._lock = threading.Lock()

    @property
    def rows(self) -> list[dict[str, Any]]:
        """What was added, oldest first: `name`, `title` (of the type), `uri`, `metadata`, `task`, `run`, `state`.

        Raises:
            UserError: The file is damaged.
        """
        if not self._path.is_file():
            return []
        try:
            rows = json.loads(self._path.read_text(encoding="utf-8"))
            if not isinstance(rows, list) or not all(map(_is_row, rows)):
                raise ValueError("something else")
        except ValueError as error:
            raise UserError(
                f"{self._path} must hold the artifacts of earlier runs, as a list. It holds {error}: put back a copy of it, or remove "
                "it, and nothing earlier is found."
            ) from error
        return rows

    def add(self, rows: list[dict[str, Any]]) -> None:
        """Adds artifacts, and writes the file whole.

        Raises:
            UserError: The file is damaged.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._lock, self._path.with_suffix(".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # given back when the file is closed
            text = json.dumps([*self.rows, *rows], indent=1)
            with whole_file(self._path) as stream:
                stream.write(text.encode())

    def query(self, condition: str) -> list[dict[str, Any]]:
        """Returns the newest artifact that meets a filter, or none.

        Args:
            condition: Equalities joined by AND, as TFX's resolvers write them: of `schema_title`, `name`, `state`, and
                `metadata.<key>.<kind of value>`.

        Raises:
            UserError: If it asks for anything else.
        """
        conditions = [_parse(part) for part in re.split(r"\s+AND\s+", condition)]
        found = [row for row in self.rows if all(_meets(row, field, value) for field, value in conditions)]
        return found[-1:]


def _is_row(value: Any) -> bool:
    return isinstance(value, dict) and set(value) >= _FIELDS and isinstance(value["metadata"], dict)


def _parse(part: str) -> tuple[str, str]:
    match = _CONDITION.fullmatch(part)
    if not match:
        raise UserError(f"a resolver's query must be equalities joined by AND. Received: {part!r}.")
    return match["field"], match["value"]


def _meets(row: dict[str, Any], field: str, value: str) -> bool:
    known = {"schema_title": row["title"], "name": row["name"], "state": row["state"]}
    if field in known:
        return known[field] == value
    if field.startswith("metadata.") and field.count(".") == 2:
        _, key, kind = field.split(".")
        found = row["metadata"].get(key)
        if found is None:
            return False
        return float(found) == float(value) if kind == "number_value" else str(found) == value
    raise UserError(f"a resolver may ask for schema_title, name, state and metadata. Received: {field!r}.")
