"""Questions to a store that is damaged."""

import contextlib
import shutil
import sqlite3
import struct
from collections.abc import Iterator
from pathlib import Path

from .lineage import Lineage


def _is_link(column: str) -> bool:
    return column == "id" or column.endswith("_id")


class Store(Lineage):
    """The same questions to a store in which cells were changed: by a fault of the disk, or by somebody.

    An input is a byte each for question and subject, and changes: table, row, column and length, a byte each, and the value.
    """

    TABLES = (
        "Artifact", "ArtifactProperty", "Execution", "ExecutionProperty", "Context", "ContextProperty", "Event",
        "Type", "TypeProperty", "MLMDEnv",
    )  # fmt: skip
    SUBJECTS = ("first", "last", "artifact:7")

    def __init__(self, folder: Path):
        super().__init__(folder)
        self._changed = folder / "changed"
        self._changed.mkdir()

    def __call__(self, data: bytes) -> None:
        if len(data) < 2:
            return
        copy = self._changed / "metadata.sqlite"
        shutil.copyfile(self.store, copy)
        self._change(copy, data[2:])
        question = self.QUESTIONS[data[0] % len(self.QUESTIONS)]
        words = [{"first": self.runs[0], "last": self.runs[-1]}.get(s, s) for s in self.SUBJECTS]
        subject = words[data[1] % len(words)]
        value = {"--where": "method=lora", "--since": "7d", "--pipeline": "p"}.get(question[-1], subject)
        self.ask(self._changed, *question, value, *([words[0]] if question[0] == "diff" else []))

    def _change(self, path: Path, data: bytes) -> None:
        """Values keep the type of their column, and links stay: on others, ML Metadata's C++ ends the process."""
        with contextlib.closing(sqlite3.connect(path)) as store:
            store.execute("PRAGMA foreign_keys = OFF")
            while len(data) >= 4:
                table, row, column, length = struct.unpack_from("4B", data)
                # An address of a bucket would be asked over the network, for minutes where there is none.
                value, data = data[4 : 4 + length].replace(b"://", b":-/"), data[4 + length :]
                name = self.TABLES[table % len(self.TABLES)]
                columns = [
                    found[1:3] for found in store.execute(f"PRAGMA table_info({name})") if not _is_link(found[1])
                ]
                rows = [found[0] for found in store.execute(f"SELECT rowid FROM {name}")]
                if not rows:
                    continue
                key, kind = columns[column % len(columns)]
                new = "CAST(? AS TEXT)" if kind.startswith(("TEXT", "VARCHAR")) else "?"
                number = int.from_bytes(value[:8], "little", signed=True)
                typed = {
                    "TINYINT(1)": number & 1,
                    "BOOLEAN": number & 1,
                    "INT": number >> 33,
                    "INTEGER": number >> 33,
                    "DOUBLE": number / 7,
                }
                store.execute(
                    f"UPDATE OR IGNORE {name} SET {key} = {new} WHERE rowid = ?",
                    (typed.get(kind, value), rows[row % len(rows)]),
                )
            store.commit()

    def list_seeds(self) -> Iterator[bytes]:
        """Each question; one change a table."""
        for number in range(len(self.QUESTIONS)):
            for table in range(len(self.TABLES)):
                yield bytes([number, 0, table, 1, number, 4]) + b"\xff\x00ab"
                yield bytes([number, 1, table, 9, 1, 2]) + "é".encode()
