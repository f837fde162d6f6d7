"""What every benchmark is: tasks read from files in its published layout, and the metrics that it is reported by."""

import abc
import csv
import gzip
import hashlib
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from components.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Task:
    """One question.

    Attributes:
        prompt: what the model is to go on from, without blank space at its end.
        references: the right answers in words.
        choices: the answers to choose from; empty where the model writes its answer.
        answers: the places of the right ones among `choices`.
        slices: values by slice column.
        columns: text by column, of columns that the metrics read.
    """

    prompt: str
    references: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    answers: tuple[int, ...] = ()
    slices: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)

    @property
    def answer(self) -> str | None:
        """A right answer; None where the benchmark gives none."""
        if self.choices:
            return self.choices[self.answers[0]]
        return self.references[0] if self.references else None

    @property
    def example_id(self) -> str:
        """A hash of the task."""
        content = json.dumps([self.prompt, self.references, self.choices, dict(self.slices), dict(self.columns)])
        return hashlib.sha256(content.encode()).hexdigest()[:32]


class Suite(abc.ABC):
    """A benchmark."""

    metrics: ClassVar[list[dict[str, Any]]]
    """As a run's `evaluation.metrics`."""
    slice_columns: ClassVar[tuple[str, ...]] = ()
    suffixes: ClassVar[tuple[str, ...]] = (".jsonl",)
    """Of its files; `.gz` may follow."""
    delimiter: ClassVar[str] = " "
    """Between prompt and answer."""
    max_new_tokens: ClassVar[int] = 0
    """Of an answer that the model writes; 0 where it chooses."""
    stop: ClassVar[tuple[str, ...]] = ()
    """Texts that end an answer, and are not part of it."""
    runs_code: ClassVar[bool] = False
    """Whether what the model writes is run as a program."""

    @abc.abstractmethod
    def read(self, path: Path) -> Iterator[Task]:
        """Yields the tasks of one file.

        Raises:
            UserError: The file is not in the benchmark's layout.
        """

    def introduce(self, task: Task) -> str:
        """What stands before the examples and the task."""
        return ""

    def list_files(self, path: str) -> list[Path]:
        """Returns the files that `path` means: itself, or those of the benchmark's kind in a folder.

        Raises:
            UserError: There are none.
        """
        root = Path(path)
        endings = tuple(suffix + end for suffix in self.suffixes for end in ("", ".gz"))
        files = sorted(p for p in root.iterdir() if p.name.endswith(endings)) if root.is_dir() else [root]
        if not files or not files[0].is_file():
            raise UserError(
                f"must be a file or a folder with files that end in {', '.join(endings)}. Received: {path}."
            )
        return files


def read_json_lines(path: Path, texts: tuple[str, ...], others: tuple[str, ...] = ()) -> Iterator[dict[str, Any]]:
    """Yields the objects of a JSON Lines file, each of which must have texts under `texts`, and something under `others`."""
    with _open(path) as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                where = f"{path}, line {number}"
                yield check(_parse(line, where), texts, where, others)


def read_json(path: Path) -> Any:
    """Returns what a JSON file holds."""
    with _open(path) as file:
        return _parse(file.read(), str(path))


def read_csv(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yields the rows of a CSV file with their numbers, from 1 on."""
    with _open(path) as file:
        try:
            yield from enumerate(csv.reader(file), start=1)
        except csv.Error as error:
            raise UserError(f"{path} must be CSV: {error}.") from error


def check(record: Any, texts: tuple[str, ...], where: str, others: tuple[str, ...] = ()) -> dict[str, Any]:
    """Returns `record` if it is an object with texts under `texts`, and something under `others`.

    Raises:
        UserError: It is not.
    """
    keys = texts + others
    if not isinstance(record, dict):
        raise UserError(f"{where} must hold an object with the keys {', '.join(keys)}. Received: {str(record)[:100]}.")
    if missing := [key for key in keys if key not in record]:
        raise UserError(
            f"{where} must have the keys {', '.join(keys)}. Missing: {', '.join(missing)}. There are: {', '.join(record)[:300]}."
        )
    for key in texts:
        if not isinstance(record[key], str):
            raise UserError(
                f"{where}: `{key}` must be text. Received: {str(record[key])[:100]} ({type(record[key]).__name__})."
            )
    return record


def check_list(value: Any, where: str) -> list[Any]:
    """Returns `value` if it is a list.

    Raises:
        UserError: It is not.
    """
    if not isinstance(value, list):
        raise UserError(f"{where} must be a list. Received: {type(value).__name__}.")
    return value


def _open(path: Path) -> Any:
    opener = gzip.open if path.suffix == ".gz" else open
    return _Utf8(opener(path, "rt", encoding="utf-8-sig", newline=""), path)


class _Utf8:
    """A text file whose reading errors say what is wrong with it."""

    def __init__(self, file: Any, path: Path):
        self._file, self._path = file, path

    def __enter__(self) -> "_Utf8":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[str]:
        while True:
            line = self._read(self._file.readline)
            if not line:
                return
            yield line

    def read(self) -> str:
        return self._read(self._file.read)

    def _read(self, read: Any) -> str:
        try:
            return read()
        except (UnicodeDecodeError, EOFError, OSError, zlib.error) as error:
            raise UserError(f"{self._path} must be whole and in UTF-8: {error}.") from error


def _parse(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where} must be JSON: {error}.") from error
