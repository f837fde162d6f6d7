"""Fixtures of this folder; what they make has modules of its own beside this one."""

import importlib.util
import itertools
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

from pipeline.lineage import store as lineage_store
from pipeline.lineage.drawing.model import Drawing, Edge, Node

# Each of these ends, begins or escapes something in one of the formats.
HOSTILE = [
    "</script><script>alert(1)</script>", "<!--", "]]>", "a\"b'c", "a\nb\r\nc", "\\N\\l\\", "#quot;", "&amp;", "end", "`code`",
    "1. one", "- one", "**bold**", '"]:::x', "%%{init: {}}%%", "style a:#x;", "$$x$$", "fa:fa-x", "click e1 call f()", "\u202eabc",
    "\x00\x07\ufffe", "日本語のとても長い名前", "e\u0301" * 40, "{{ 7 * 7 }}", "",
]  # fmt: skip


def _load(name: str) -> Any:
    # Tests have no package that they could import from.
    spec = importlib.util.spec_from_file_location(f"drawing_{name}", Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _open(path: Path) -> MetadataStore:
    config = mlmd.ConnectionConfig()
    config.sqlite.filename_uri = str(path)
    return lineage_store.open_store(config)


@pytest.fixture
def writer(tmp_path: Path) -> Any:
    """Writes whole runs into a store."""
    return _load("run_writer").RunWriter(tmp_path / "metadata.sqlite", root=str(tmp_path))


@pytest.fixture
def reader(writer: Any, tmp_path: Path) -> MetadataStore:
    """Reads what `writer` wrote."""
    return _open(tmp_path / "metadata.sqlite")


@pytest.fixture(scope="session")
def fifty_runs(tmp_path_factory: pytest.TempPathFactory) -> MetadataStore:
    """An open store of 50 runs."""
    path = tmp_path_factory.mktemp("fifty") / "metadata.sqlite"
    _load("run_writer").RunWriter(path).record_many(50)
    return _open(path)


@pytest.fixture(scope="session")
def hostile_texts() -> list[str]:
    """Texts that no format may take for its own, and the list of naughty strings where it lies beside the checkout."""
    shared = Path(__file__).resolve().parents[5] / "shared" / "data" / "naughty-strings" / "blns.json"
    return HOSTILE + (json.loads(shared.read_text(encoding="utf-8")) if shared.exists() else [])


@pytest.fixture(scope="session")
def hostile_drawing(hostile_texts: list[str]) -> Drawing:
    """A drawing in which every text is hostile."""
    return make_drawing(hostile_texts)


def make_drawing(texts: list[str]) -> Drawing:
    """Returns a chain of artifacts and executions with these texts everywhere."""
    nodes = []
    for number, text in enumerate(texts, start=1):
        kind, group = ("artifact", "data") if number % 2 else ("execution", "complete")
        nodes.append(
            Node(
                key=f"{kind}:{number}",
                id=number,
                kind=kind,
                group=group,
                title=text,
                detail=text,
                type=text,
                state="LIVE",
                run=texts[0],
                uri=text,
                created_at="2026-01-02T03:04:05Z",
                updated_at="2026-01-02T03:04:05Z",
                properties={text: text, "config": json.dumps({text: [text]})},
            )
        )
    edges = [
        Edge(source=one.key, target=two.key, kind="input" if two.kind == "execution" else "output", names=(two.title,))
        for one, two in itertools.pairwise(nodes)
    ]
    return Drawing(
        title=texts[0], name="hostile", pipeline=texts[0], subject=nodes[0].key, lanes=False, runs=(), nodes=tuple(nodes),
        edges=tuple(edges),
    )  # fmt: skip


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A real browser."""
    module = _load("chromium")
    if module.find_browser() is None:
        pytest.skip(f"needs a browser: {', '.join(module.NAMES)}")
    browser = module.Chromium(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()
