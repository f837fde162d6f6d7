"""Tests of Mermaid, DOT and SVG: nothing that the store holds can leave its label."""

import html
import re
import xml.etree.ElementTree as ElementTree

import pydot
import pytest

from pipeline.lineage.drawing import dot, mermaid, svg
from pipeline.lineage.drawing.layout import lay_out
from pipeline.lineage.drawing.select import load_drawing
from pipeline.lineage.drawing.text import make_line, measure, shorten

_LABEL = r'"(?:[\w _,/=()]|#\d+;|<br/>)*"'
MERMAID_LINE = re.compile(
    r"flowchart (TD|LR)"
    rf"| *subgraph run\d+ \[{_LABEL}\]| *end"
    rf"| *(e\d+\[{_LABEL}\]|a\d+\(\[{_LABEL}\]\)):::\w+"
    r"|  [ae]\d+ (-->|-\.->|==>) [ae]\d+"
    r"|  classDef \w+ [\w:#,.\- ]+"
)
SVG = "{http://www.w3.org/2000/svg}"


def read_mermaid_label(text: str) -> str:
    return re.sub(r"#(\d+);", lambda match: chr(int(match[1])), text)


def test_mermaid_holds_nothing_but_its_grammar(hostile_drawing):
    text = mermaid.render(hostile_drawing)
    assert [line for line in text.splitlines() if not MERMAID_LINE.fullmatch(line)] == []
    assert len(re.findall(r":::", text)) == len(hostile_drawing.nodes)
    assert text.count("-->") == len(hostile_drawing.edges)


@pytest.mark.parametrize("text", ["plain", 'a "b" #c; <d> & `e`', "日本語", "ends with \\", "**x** 1. y"])
def test_mermaid_shows_the_text(text):
    assert read_mermaid_label(mermaid.escape(text)) == text


@pytest.mark.parametrize("text", ["$$x$$", "fa:fa-bell", "a\\nb"])
def test_mermaid_reads_no_formula_icon_or_line_end(text):
    shown = read_mermaid_label(mermaid.escape(text))
    assert shown != text
    assert shown.replace("\u200b", "") == text


def test_mermaid_of_runs_has_a_part_for_each(fifty_runs):
    drawing = load_drawing(fifty_runs, last=3)
    text = mermaid.render(drawing)
    assert [line for line in text.splitlines() if not MERMAID_LINE.fullmatch(line)] == []
    assert re.findall(r"subgraph run\d+ \[\"(\d+)", text) == ["20261101"] * 3
    assert mermaid.find_limit(text, drawing) == ""
    fifty = load_drawing(fifty_runs, last=50)
    assert "this has 2," in mermaid.find_limit(mermaid.render(fifty), fifty)


def read_dot(text: str) -> pydot.Dot:
    graphs = pydot.graph_from_dot_data(text)
    assert graphs is not None and len(graphs) == 1
    return graphs[0]


def read_dot_label(quoted: str) -> str:
    """Returns what Graphviz shows: lines for `\\n`, entities of HTML as characters."""
    escapes = {"n": "\n", "\\": "\\", '"': '"'}
    return html.unescape(re.sub(r"\\(.)", lambda match: escapes[match[1]], quoted[1:-1]))


def test_dot_is_read_back_with_every_text(hostile_drawing):
    graph = read_dot(dot.render(hostile_drawing))
    nodes = {node.get_name(): node for node in graph.get_nodes() if re.fullmatch(r"[ae]\d+", node.get_name())}
    assert len(nodes) == len(hostile_drawing.nodes)
    assert len(graph.get_edges()) == len(hostile_drawing.edges)
    for node in hostile_drawing.nodes:
        title, detail = (shorten(make_line(text), 60) for text in (node.title, node.detail))
        assert read_dot_label(nodes[mermaid.make_id(node)].get_label()) == f"{title}\n{detail}"


@pytest.mark.parametrize("text", ["\\N", "a\\", '"', '\\"', "\n", "&lt;"])
def test_dot_quotes_escape_everything(text):
    quoted = dot.quote(text)
    assert re.fullmatch(r'"(?:[^"\\\n]|\\\\|\\")*"', quoted)
    assert not re.search(r"&(?!amp;)", quoted)


def test_dot_of_runs_has_a_cluster_for_each(fifty_runs):
    drawing = load_drawing(fifty_runs, last=3)
    graph = read_dot(dot.render(drawing))
    clusters = graph.get_subgraphs()
    assert [cluster.get_name() for cluster in clusters] == ["cluster_0", "cluster_1", "cluster_2"]
    drawn = [n for cluster in clusters for n in cluster.get_nodes() if re.fullmatch(r"[ae]\d+", n.get_name())]
    assert len(drawn) == len(drawing.nodes)


def test_svg_is_xml_that_shows_every_text(hostile_drawing):
    root = ElementTree.fromstring(svg.render(hostile_drawing, lay_out(hostile_drawing)))
    nodes = [g for g in root.iter(f"{SVG}g") if g.find(f"{SVG}title") is not None]
    assert len(nodes) == len(hostile_drawing.nodes)
    for node, element in zip(hostile_drawing.nodes, nodes, strict=True):
        title = make_line(node.title)
        shown = element.find(f"{SVG}text").text or ""
        assert title.startswith(shown.removesuffix("…").rstrip())
        assert element.find(f"{SVG}title").text.startswith(title[:300])
    assert {element.tag.removeprefix(SVG) for element in root.iter()} == {
        "svg", "style", "rect", "text", "g", "defs", "marker", "path", "title", "circle",
    }  # fmt: skip


def test_svg_has_a_legend_of_what_is_drawn(fifty_runs):
    drawing = load_drawing(fifty_runs, last=2)
    root = ElementTree.fromstring(svg.render(drawing, lay_out(drawing)))
    keys = [text.text for text in root.iter(f"{SVG}text") if text.get("class") == "key"]
    assert keys == ["Complete", "Cached", "Data", "Model", "Evidence"]


def test_texts_fit_their_nodes():
    assert shorten("short", 20) == "short"
    assert shorten("a" * 30, 10) == "a" * 9 + "…"
    assert measure(shorten("日本語" * 20, 20)) <= 20
