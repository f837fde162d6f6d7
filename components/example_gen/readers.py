"""Opens a data file, wherever it lies, and reads its records by format, hashing the bytes on the way."""

import gzip
import hashlib
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from components.errors import UserError
from components.example_gen.csv_reader import read_csv
from components.example_gen.item import MOST_RATIO, MOST_UNPACKED, FileFacts, Item
from components.example_gen.json_reader import read_json, read_jsonl
from components.example_gen.parquet_reader import read_parquet
from components.example_gen.records import Columns
from components.git_lfs import POINTER

_BUFFER_BYTES = 1 << 20
_TEXT_READERS = {"jsonl": read_jsonl, "json": read_json, "csv": read_csv}
_UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")
_GZIP_MAGIC = b"\x1f\x8b"


@dataclass
class SourceFacts(FileFacts):
    """Facts of the file as it lies in storage: complete once all records are read."""

    sha256: str = ""
    num_bytes: int = 0
    _digest: Any = field(default_factory=hashlib.sha256, repr=False)

    def update(self, data: bytes | memoryview) -> None:
        """Takes in the next bytes."""
        self._digest.update(data)
        self.num_bytes += len(data)
        self.sha256 = ""

    def finish(self) -> None:
        """Computes `sha256`."""
        self.sha256 = self._digest.hexdigest()


class _HashingStream(io.RawIOBase):
    """Passes a stream's bytes on and tells them to `facts`."""

    def __init__(self, stream: BinaryIO, facts: SourceFacts):
        self._stream = stream
        self._facts = facts

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        data = self._stream.read(len(target))
        target[: len(data)] = data
        self._facts.update(data)
        return len(data)


class _Unpacked(io.RawIOBase):
    """Gzip data as they are unpacked: text becomes ten times as long, and not hours of reading from a few megabytes."""

    def __init__(self, stream: BinaryIO, facts: SourceFacts):
        self._stream = gzip.GzipFile(fileobj=stream)
        self._facts = facts
        self._num_bytes = 0

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        data = self._stream.read(len(target))
        target[: len(data)] = data
        self._num_bytes += len(data)
        if self._num_bytes > MOST_UNPACKED and self._num_bytes > MOST_RATIO * self._facts.num_bytes:
            raise UserError(
                f"a `.gz` file of records must not unpack to more than {MOST_RATIO} times its size. Received: {self._facts.num_bytes:,} bytes that "
                f"have become {self._num_bytes:,} so far. Look at what is in it; if it is meant, unpack it."
            )
        return len(data)


def read_file(path: str, format_name: str, columns: Columns, facts: SourceFacts) -> Iterator[Item]:
    """Yields the records of a file in its order.

    Args:
        path: Local path or URL of a file system that Beam knows; a name ending in `.gz` is decompressed.
        format_name: `jsonl`, `json`, `csv` or `parquet`.
        columns: The columns that are used.
        facts: Filled in on the way.

    Raises:
        UserError: If the file cannot be opened, is not what its name says, or is broken as a whole.
    """
    try:
        with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as stream:
            if format_name == "parquet":
                _refuse_pointer(stream.read(len(POINTER)))
                stream.seek(0)
                yield from read_parquet(stream, facts, columns)
                # Its end is read first, so the bytes are hashed afterwards: a file that was written over meanwhile has another hash
                # than the driver's.
                stream.seek(0)
                while data := stream.read(_BUFFER_BYTES):
                    facts.update(data)
            else:
                text = _open_text(path, io.BufferedReader(_HashingStream(stream, facts), _BUFFER_BYTES), facts)
                yield from _TEXT_READERS[format_name](text, facts)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(
            f"a `.gz` file must be complete gzip data. Reading it fails: {error}. Write it again."
        ) from None
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        raise UserError(f"must be a file that can be read: {error.strerror or error}.") from None
    facts.finish()


def _open_text(path: str, stream: io.BufferedReader, facts: SourceFacts) -> io.BufferedReader:
    _refuse_pointer(stream.peek(len(POINTER)))
    if path.lower().endswith(".gz"):
        stream = io.BufferedReader(_Unpacked(stream, facts), _BUFFER_BYTES)
    elif stream.peek(2).startswith(_GZIP_MAGIC):
        raise UserError("is gzip data, so its name must end in `.gz`. Rename it.")
    if stream.peek(2).startswith(_UTF16_BOMS):
        raise UserError("must be UTF-8; its first bytes are the mark of UTF-16 or UTF-32. Save it as UTF-8.")
    if b"\0" in stream.peek(4)[:4]:
        raise UserError(
            "must be UTF-8; there is a NUL among its first bytes, as in UTF-16 or UTF-32. Save it as UTF-8."
        )
    return stream


def _refuse_pointer(beginning: bytes) -> None:
    if beginning.startswith(POINTER):
        raise UserError("is a Git LFS pointer, not the data. Run `git lfs pull` where it comes from.")
