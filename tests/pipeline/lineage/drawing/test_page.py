"""Tests of the page as it is written; `test_page_in_browser.py` has those of what it does."""

import base64
import dataclasses
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest

from pipeline.lineage.drawing import page
from pipeline.lineage.drawing.layout import lay_out
from pipeline.lineage.drawing.select import load_drawing
from pipeline.lineage.drawing.text import make_line


class Reader(HTMLParser):
    """Reads a page: its tags, and the content of its scripts."""

    def __init__(self):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data):
        if self.cdata_elem == "script":
            self.scripts[-1] += data


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    return reader


@pytest.fixture
def hostile(hostile_drawing) -> Reader:
    return read(page.render(hostile_drawing, lay_out(hostile_drawing)))


def test_only_its_own_script_may_run(hostile):
    (policy,) = (attrs["content"] for _, attrs in hostile.tags if attrs.get("http-equiv") == "Content-Security-Policy")
    _, script = hostile.scripts
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"


def test_no_text_of_the_store_becomes_a_tag(hostile, hostile_drawing):
    clean = dataclasses.replace(
        hostile_drawing,
        nodes=tuple(
            dataclasses.replace(node, title="x", detail="x", type="x", uri="x", run="x", properties={})
            for node in hostile_drawing.nodes
        ),
    )
    expected = read(page.render(clean, lay_out(clean)))
    assert [tag for tag, _ in hostile.tags] == [tag for tag, _ in expected.tags]
    assert [sorted(attrs) for _, attrs in hostile.tags] == [sorted(attrs) for _, attrs in expected.tags]


def test_nothing_comes_from_elsewhere(hostile):
    assert not [attrs for _, attrs in hostile.tags if {"src", "href", "action", "xlink:href"} & attrs.keys()]
    text = (page._ASSETS / "page.css").read_text() + (page._ASSETS / "graph.css").read_text()
    assert "@import" not in text
    assert set(re.findall(r"url\((.*?)\)", text)) == {"#arrow"}


def test_the_data_are_there_whole(hostile, hostile_drawing):
    data = json.loads(hostile.scripts[0])
    assert [node["title"] for node in data["nodes"]] == [make_line(node.title) for node in hostile_drawing.nodes]
    assert len(data["edges"]) == len(hostile_drawing.edges)
    numbers = [number for node in data["nodes"] for _, number, _ in node["properties"]]
    assert set(numbers) == set(range(len(data["texts"])))


def test_elements_stand_in_the_order_of_the_data(hostile, hostile_drawing):
    nodes = [attrs for tag, attrs in hostile.tags if tag == "g" and (attrs.get("class") or "").startswith("node ")]
    labels = [attrs["aria-label"] for attrs in nodes if "aria-label" in attrs]
    assert labels == [f"{make_line(node.title)}, {make_line(node.detail)}" for node in hostile_drawing.nodes]


def test_script_data_cannot_end_the_script():
    value = {"a": "</script><!--<script>\u2028&amp;"}
    dumped = page.dump_for_script(value)
    assert not set("<>&\u2028") & set(dumped)
    assert json.loads(dumped) == value


def test_runs_share_the_texts_that_they_repeat(fifty_runs):
    drawing = load_drawing(fifty_runs, last=50)
    data = page.make_data(drawing, lay_out(drawing))
    assert len(data["texts"]) == len(set(data["texts"])) < 400


def test_a_very_long_value_is_cut_and_says_so(writer, reader):
    writer.record("run-1", extra={"log": "x" * 30_000})
    drawing = load_drawing(reader, "run-1")
    data = page.make_data(drawing, lay_out(drawing))
    assert [text for text in data["texts"] if text.startswith("xxx")] == [
        "x" * 20_000 + "\n… 10,000 more characters: `lineage graph --json` has them"
    ]


def test_a_legend_names_what_is_drawn(writer, reader):
    writer.record("run-1", failed="Trainer")
    drawing = load_drawing(reader, "run-1")
    groups = [
        attrs["data-group"] for _, attrs in read(page.render(drawing, lay_out(drawing))).tags if "data-group" in attrs
    ]
    assert groups == ["complete", "failed", "data", "model", "evidence"]
