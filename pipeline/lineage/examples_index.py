"""Finds in which data an example is, and in which split: reads ExampleGen's files as bytes, without TensorFlow if they are local."""

import json
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Protocol

from ml_metadata.metadata_store.metadata_store import ListOptions, MetadataStore, OrderByField
from ml_metadata.proto import metadata_store_pb2 as mlmd

from components import storage
from components.errors import UserError
from pipeline.lineage.graph import get_properties

# Hex digits of an `example_id`, see `components.example_gen.records.make_example`.
ID_LENGTH = 32
SPLIT_PREFIX = "Split-"
# How the feature stands in a serialized `tf.train.Example`: key, then the lengths of Feature, BytesList and value.
_LEAD = b"\x0a\x0aexample_id\x12" + bytes((ID_LENGTH + 4, 0x0A, ID_LENGTH + 2, 0x0A, ID_LENGTH))
_BLOCK_BYTES = 1 << 20
_GZIP = 16 + zlib.MAX_WBITS  # zlib's word for gzip's header
_NUM_NAMED = 5  # of the ids that an error lists
_RAW_EXAMPLES = ListOptions(
    filter_query="type = 'Examples' AND custom_properties.data_sha256.string_value != ''",
    order_by=OrderByField.ID,
    is_asc=False,
)


@dataclass(frozen=True, kw_only=True)
class Content:
    """Raw examples that are the same, however often they were written.

    Attributes:
        artifact_ids: The artifacts that hold them, the newest first.
        uris: Their folders.
        data_path: The data file or files.
        data_sha256: Of these.
        created_at: Milliseconds since 1970, of the newest.
    """

    artifact_ids: tuple[int, ...]
    uris: tuple[str, ...]
    data_path: str
    data_sha256: str
    created_at: int


@dataclass(frozen=True, kw_only=True)
class Holding:
    """An example in a content: its split there."""

    content: Content
    split: str


@dataclass(kw_only=True)
class Search:
    """What a search has found.

    Attributes:
        example_id: The whole id; empty if nothing was found.
        holdings: Where the example is, the newest data first.
        num_searched: Contents that were read to their end, or to the example.
        unknown: Contents whose files are gone or cannot be read, with the reason of each: whether the example was there is not known.
    """

    example_id: str = ""
    holdings: list[Holding] = field(default_factory=list)
    num_searched: int = 0
    unknown: list[tuple[Content, str]] = field(default_factory=list)


def list_contents(store: MetadataStore) -> list[Content]:
    """Lists what ExampleGen has written, the newest first; the same data, read by the same settings, are one content."""
    artifacts = list(store.get_artifacts(_RAW_EXAMPLES))
    settings = _read_settings(store, [artifact.id for artifact in artifacts])
    groups: dict[tuple[str, ...], list[mlmd.Artifact]] = {}
    for artifact in artifacts:
        recorded = get_properties(artifact)
        # The name of a file is part of its examples' ids.
        names = ", ".join(PurePosixPath(path).name for path in str(recorded.get("data_path", "")).split(", "))
        key = (str(recorded["data_sha256"]), names, settings.get(artifact.id, artifact.uri))
        groups.setdefault(key, []).append(artifact)
    return [
        Content(
            artifact_ids=tuple(artifact.id for artifact in group),
            uris=tuple(dict.fromkeys(artifact.uri for artifact in group)),
            data_path=str(get_properties(group[0]).get("data_path", "")),
            data_sha256=key[0],
            created_at=group[0].create_time_since_epoch,
        )
        for key, group in groups.items()
    ]


def _read_settings(store: MetadataStore, artifact_ids: list[int]) -> dict[int, str]:
    """Returns what of ExampleGen's settings its output depends on, by artifact."""
    makers: dict[int, int] = {}
    for event in store.get_events_by_artifact_ids(artifact_ids) if artifact_ids else []:
        if event.type == mlmd.Event.OUTPUT:
            makers[event.artifact_id] = min(event.execution_id, makers.get(event.artifact_id, event.execution_id))
    executions = {e.id: e for e in store.get_executions_by_id(sorted(set(makers.values())))} if makers else {}
    return {
        artifact_id: _normalize(str(get_properties(executions[execution_id]).get("custom_config", "")))
        for artifact_id, execution_id in makers.items()
        if execution_id in executions
    }


def _normalize(custom_config: str) -> str:
    try:
        settings = json.loads(json.loads(custom_config)["custom_config"]["value"])
        settings["data"].pop("quarantine_dir", None)  # where copies go changes nothing
        return json.dumps(settings, sort_keys=True)
    except (ValueError, KeyError, TypeError):
        return custom_config


class Progress(Protocol):
    """Is told how many bytes there are to read, and how many more are read."""

    def start(self, num_bytes: int) -> None:
        """So much is to be done."""

    def advance(self, num_bytes: int) -> None:
        """So much more was done."""


def search(contents: list[Content], beginning: str, progress: Progress | None = None) -> Search:
    """Reads contents for an example.

    Args:
        contents: See `list_contents`.
        beginning: Its id, or the beginning of it.
        progress: Is told how far it is.

    Raises:
        UserError: Several examples begin so.
    """
    result = Search()
    found: dict[str, list[Holding]] = {}
    plans = []
    for content in contents:
        if files := _find_files(content):
            plans.append((content, files))
        else:
            result.unknown.append((content, "its files are gone"))
    if progress:
        progress.start(sum(file.size for _, files in plans for file in files))
    for content, files in plans:
        left = sum(file.size for file in files)

        def advance(num_bytes: int) -> None:
            nonlocal left
            left -= num_bytes
            if progress:
                progress.advance(num_bytes)

        try:
            ids = dict(_search_files(files, beginning, advance))
        except (OSError, EOFError, zlib.error) as error:
            result.unknown.append((content, f"a file cannot be read ({error})"))
            continue
        finally:
            advance(left)  # what was not looked at, since the example was found or a file is broken
        result.num_searched += 1
        for example_id, split in ids.items():
            found.setdefault(example_id, []).append(Holding(content=content, split=split))
    if len(found) > 1:
        named = ", ".join(sorted(found)[:_NUM_NAMED]) + (", ..." if len(found) > _NUM_NAMED else "")
        raise UserError(
            f"the beginning of an example's id must be that of one example. Received: {beginning!r}, with which {len(found):,} "
            f"begin: {named}. Give more of it."
        )
    for example_id, holdings in found.items():
        result.example_id, result.holdings = example_id, holdings
    return result


@dataclass(frozen=True, kw_only=True)
class _File:
    place: str
    split: str
    size: int


def _find_files(content: Content) -> list[_File]:
    """Returns the files of a content, from whichever of its folders is still there; none if all are gone."""
    for uri in content.uris:
        try:
            listed = storage.list_files(uri)
        except OSError:
            continue
        files = []
        for file in listed:
            folder, _, name = file.name.rpartition("/")
            if folder.startswith(SPLIT_PREFIX) and name.endswith(".gz"):
                split = folder.removeprefix(SPLIT_PREFIX)
                files.append(_File(place=storage.join(uri, file.name), split=split, size=file.size))
        if files:
            return files
    return []


def _search_files(files: list[_File], beginning: str, advance: Callable[[int], Any]) -> Iterator[tuple[str, str]]:
    """Yields the ids that begin so, each with its split; stops at the first one if the id is whole."""
    for file in files:
        for example_id in find_ids(inflate(_tell(storage.read_blocks(file.place), advance)), beginning):
            yield example_id, file.split
            if len(beginning) == ID_LENGTH:
                return


def _tell(blocks: Iterator[bytes], advance: Callable[[int], Any]) -> Iterator[bytes]:
    for block in blocks:
        yield block
        advance(len(block))


def inflate(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Yields the content of a gzip file (of one member or more) in blocks of bounded size.

    Raises:
        EOFError: The file ends too early.
        zlib.error: It is none.
    """
    member = zlib.decompressobj(_GZIP)
    for block in blocks:
        while block:
            if member.eof:  # Beam writes a file's members one after the other
                member = zlib.decompressobj(_GZIP)
            yield member.decompress(block, _BLOCK_BYTES)
            block = member.unused_data if member.eof else member.unconsumed_tail
    while not member.eof and (rest := member.decompress(b"", _BLOCK_BYTES)):
        yield rest
    if not member.eof:
        raise EOFError("it ends too early")


def find_ids(blocks: Iterable[bytes], beginning: str) -> Iterator[str]:
    """Yields the ids of examples in serialized examples that begin so.

    Args:
        blocks: Uncompressed TFRecords, cut anywhere.
        beginning: Of the id.
    """
    wanted = _LEAD + beginning.encode()
    # One byte less than a whole match is carried over: none is missed at the seam of two blocks, and none is found twice.
    overlap = len(_LEAD) + ID_LENGTH - 1
    window = b""
    for block in blocks:
        window = window[-overlap:] + block
        at = window.find(wanted)
        while at >= 0 and len(window) - at > overlap:
            yield window[at + len(_LEAD) : at + len(_LEAD) + ID_LENGTH].decode(errors="replace")
            at = window.find(wanted, at + 1)
