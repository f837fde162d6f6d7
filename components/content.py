"""What an artifact holds: the names, sizes and SHA-256 of its files, and one hash over all of them.

The hash is recorded when the artifact is published. The list of files that it is made of lies beside the artifact, so that a
later look can say which file has changed; a list that was changed itself no longer has the recorded hash.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from components import storage

# Custom properties of an artifact.
CONTENT_SHA256 = "content_sha256"
CONTENT_BYTES = "content_bytes"
CONTENT_FILES = "content_files"


class FileContent(NamedTuple):
    """One file: its name from the artifact's folder on, its size in bytes, and the SHA-256 of its bytes."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Content:
    """The files of an artifact, in the order of their names."""

    files: tuple[FileContent, ...]

    @property
    def num_bytes(self) -> int:
        """Of all files together."""
        return sum(file.size for file in self.files)

    @cached_property
    def manifest(self) -> str:
        """A line a file: SHA-256, size, and the name as JSON, which has no line breaks in it."""
        return "".join(f"{file.sha256} {file.size} {json.dumps(file.name)}\n" for file in sorted(self.files))

    @property
    def sha256(self) -> str:
        """The SHA-256 of the manifest."""
        return hashlib.sha256(self.manifest.encode()).hexdigest()


def parse_manifest(text: str) -> Content:
    """Returns what `Content.manifest` was made of.

    Raises:
        ValueError: It is no manifest.
    """
    files = []
    for line in text.splitlines():
        sha256, size, name = line.split(" ", 2)
        files.append(FileContent(json.loads(name), int(size), sha256))
    return Content(tuple(files))


def hash_file(place: str, on_bytes: Callable[[int], object] = lambda _: None) -> str:
    """Returns the SHA-256 of a file, local or in a bucket.

    Args:
        place: Of the file.
        on_bytes: Is told how many bytes were read, block by block.

    Raises:
        OSError: It cannot be read.
    """
    digest = hashlib.sha256()
    for block in storage.read_blocks(place):
        digest.update(block)
        on_bytes(len(block))
    return digest.hexdigest()


def read_content(place: str) -> Content:
    """Reads and hashes all files of an artifact.

    Args:
        place: Its URI: a folder, or a file. One that is not there has no files: a Pusher that held a model back makes none.

    Raises:
        OSError: It cannot be read.
    """
    try:
        found: Iterable[storage.StoredFile] = storage.list_files(place)
    except FileNotFoundError:
        found = ()
    return Content(tuple(FileContent(f.name, f.size, hash_file(storage.join(place, f.name))) for f in found))


def find_manifest(place: str) -> str:
    """Returns where the manifest of an artifact is: among TFX's own files of the node.

    Args:
        place: The artifact's URI, `<node>/<output>/<execution>` as TFX makes them.
    """
    # TFX keeps a single value in a file of that name in the folder.
    folder, _, execution = place.rstrip("/").removesuffix("/value").rpartition("/")
    node, _, output = folder.rpartition("/")
    return f"{node}/.system/contents/{execution}/{output}"


def read_manifest(place: str, sha256: str) -> tuple[FileContent, ...] | None:
    """Returns the files that an artifact consisted of when it was published; None if that is not known.

    Args:
        place: The artifact's URI.
        sha256: That was recorded of it; a manifest that was changed itself has another one.
    """
    try:
        content = parse_manifest(storage.read_text(find_manifest(place)))
    except (OSError, ValueError):
        return None
    return content.files if content.sha256 == sha256 else None


def find_difference(place: str, sha256: str) -> str:
    """Compares the files of an artifact with its manifest, by names and sizes; nothing is read of them.

    Args:
        place: See `read_manifest`.
        sha256: See `read_manifest`.

    Returns:
        The first difference, such as `a.gz is missing`; "" if there is none, or no manifest.

    Raises:
        OSError: They cannot be listed.
    """
    files = read_manifest(place, sha256)
    if files is None:
        return ""
    try:
        found = {file.name: file.size for file in storage.list_files(place)}
    except FileNotFoundError:
        found = {}
    return compare_sizes(found, {file.name: file.size for file in files})


def compare_sizes(found: Mapping[str, int], expected: Mapping[str, int]) -> str:
    """Returns the first difference between files by name and size in bytes, such as `a.gz is missing`; "" if there is none."""
    for name in sorted({*found, *expected}):
        if name not in found:
            return f"{name or 'it'} is missing"
        if name not in expected:
            return f"{name or 'it'} was added"
        if found[name] != expected[name]:
            return f"{name or 'it'} has {found[name]:,} bytes instead of {expected[name]:,}"
    return ""


def record_content(artifact: Any) -> None:
    """Hashes an artifact that is complete, writes its manifest, and sets the custom properties `content_...`.

    Args:
        artifact: An `ml_metadata` artifact with its URI. Nothing may change its files afterwards.

    Raises:
        OSError: It cannot be read, or the manifest cannot be written.
    """
    content = read_content(artifact.uri)
    storage.write_text(find_manifest(artifact.uri), content.manifest)
    artifact.custom_properties[CONTENT_SHA256].string_value = content.sha256
    artifact.custom_properties[CONTENT_BYTES].int_value = content.num_bytes
    artifact.custom_properties[CONTENT_FILES].int_value = len(content.files)
