"""Tests of the page of token cleaning."""

import base64
import hashlib
import math
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from components.errors import UserError
from pipeline import tokens_page, tokens_report, tokens_store

VOID = {"meta", "input", "br", "hr", "img", "link"}
HOSTILE = "</s><script>alert('1')</script>\"' onmouseover=\"x\" &lt;"


class Element:
    def __init__(self, tag: str, attributes: dict[str, str | None], parent: "Element | None" = None):
        self.tag, self.attributes, self.parent = tag, attributes, parent
        self.children: list[Element | str] = []

    @property
    def text(self) -> str:
        return "".join(child if isinstance(child, str) else child.text for child in self.children)

    @property
    def classes(self) -> list[str]:
        return (self.attributes.get("class") or "").split()

    def find_all(self, tag: str | None = None, css: str | None = None) -> list["Element"]:
        found = []
        for child in self.children:
            if isinstance(child, Element):
                if tag in (None, child.tag) and (css is None or css in child.classes):
                    found.append(child)
                found += child.find_all(tag, css)
        return found


class Reader(HTMLParser):
    """Builds the tree, and fails on a tag that is closed out of order or never."""

    def __init__(self):
        super().__init__()
        self.root = self.current = Element("", {})

    def handle_starttag(self, tag, attrs):
        assert len({name for name, _ in attrs}) == len(attrs), f"attribute twice in {tag} {attrs}"
        element = Element(tag, dict(attrs), self.current)
        self.current.children.append(element)
        if tag not in VOID:
            self.current = element

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.current = self.current.parent

    def handle_endtag(self, tag):
        assert tag == self.current.tag, f"</{tag}> closes <{self.current.tag}> at {self.getpos()}"
        self.current = self.current.parent

    def handle_data(self, data):
        self.current.children.append(data)


def read(page: str) -> Element:
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.current is reader.root, f"<{reader.current.tag}> is not closed"
    return reader.root


def make_report(number: int = 1, **changes: Any) -> tokens_report.Report:
    """Influences run evenly from -2 to 6; the cut is at 0."""
    bins = [{"low": low / 2, "kept": 10 * (low >= 0), "dropped": 10 * (low < 0)} for low in range(-4, 12)]
    tokens = [(" red", 6.0, True), ("\n", -2.0, False), ("", None, True), (HOSTILE, 0.0, False)]
    example = {
        "example_id": f"aa{number}", "slices": {"kind": HOSTILE}, "prompt": HOSTILE,
        "tokens": [{"text": text, "influence": influence, "kept": kept} for text, influence, kept in tokens],
    }  # fmt: skip
    content = {
        "format_version": 1, "strategy": "fixed", "scope": "dataset", "keep": 0.6, "round": number, "base": HOSTILE,
        "reference": f"reference {number}", "num_examples": 5120, "num_examples_without_target": 12,
        "num_response_tokens": 15000, "num_kept_tokens": 9001, "kept_share": 0.60007, "threshold": 0.0,
        "rank_error_bound": 0.0005, "num_tied_at_threshold": 1003,
        "influence": {"min": -2.0, "max": 6.0, "mean": 2.0, "bin_width": 0.5, "bins": bins},
        "slices": {HOSTILE: {HOSTILE: {"examples": 10, "response_tokens": 1000, "kept_tokens": 700},
                             "low": {"examples": 20, "response_tokens": 2000, "kept_tokens": 800},
                             "empty": {"examples": 1, "response_tokens": 0, "kept_tokens": 0}}},
        "tokens": {"dropped": [{"token_id": 5, "text": HOSTILE, "dropped": 1120, "kept": 30}],
                   "kept": [{"token_id": 6, "text": " \n", "dropped": 3, "kept": 2040}]},
        "examples": [example], "source": {},
    } | changes  # fmt: skip
    return tokens_report.Report.model_validate(content)


def make_cleaning(*reports: tokens_report.Report, run_id: str = "run-1") -> tokens_store.Cleaning:
    return tokens_store.Cleaning(run_id=run_id, pipeline_name="tiny", reports=reports)


def render(*reports: tokens_report.Report) -> Element:
    return read(tokens_page.render_page(make_cleaning(*reports)))


def make_influence(counts: dict[int, tuple[int, int]], width: float = 0.05) -> dict[str, Any]:
    """Makes a distribution from (kept, dropped) by number of the bin."""
    bins = [{"low": index * width, "kept": k, "dropped": d} for index, (k, d) in sorted(counts.items())]
    return {"min": bins[0]["low"], "max": bins[-1]["low"], "mean": 0.0, "bin_width": width, "bins": bins}


@pytest.mark.parametrize("hostile", [HOSTILE, "{{ 7 * 7 }}", "'\">", "<!--", "]]>", "\x00\x1b\u202e"])
def test_text_stays_text(hostile: str):
    def page_of(text: str) -> str:
        report = make_report(
            base=text, reference=text, strategy=text,
            slices={text: {text: {"examples": 1, "response_tokens": 2, "kept_tokens": 1}}},
            tokens={way: [{"token_id": 1, "text": text, "dropped": 1, "kept": 1}] for way in ("dropped", "kept")},
            examples=[{"example_id": text, "slices": {text: text}, "prompt": text * 999,
                       "tokens": [{"text": text, "influence": 1.0, "kept": False}]}],
        )  # fmt: skip
        cleaning = tokens_store.Cleaning(run_id=text, pipeline_name=text, reports=(report, report))
        return tokens_page.render_page(cleaning)

    def list_tags(page: str) -> list[tuple[str, list[str]]]:
        return [(tag.tag, list(tag.attributes)) for tag in read(page).find_all()]

    page = page_of(hostile)
    assert len(read(page).find_all("script")) == 1
    assert list_tags(page) == list_tags(page_of("harmless"))
    assert not re.search("[\x00-\x09\x0b-\x1f\u202a-\u202e]", page)
    (shown,) = read(page).find_all("div", "response")[-1].children
    assert isinstance(shown, Element)
    assert shown.text == hostile.replace("\x00\x1b\u202e", "<U+0000><U+001B><U+202E>")


def test_the_page_needs_nothing_else():
    page = tokens_page.render_page(make_cleaning(make_report(), make_report(2)))
    root = read(page)
    loading = {"src", "srcset", "href", "data", "action", "xlink:href", "poster"}
    links = [value for tag in root.find_all() for name, value in tag.attributes.items() if name in loading]
    assert links and all((link or "").startswith("#") for link in links)
    ids = [tag.attributes["id"] for tag in root.find_all() if "id" in tag.attributes]
    assert len(ids) == len(set(ids))
    assert {(link or "")[1:] for link in links} <= set(ids)
    references = re.findall(r"url\(#([^)]*)\)", page) + [
        name
        for tag in root.find_all()
        for key in ("aria-labelledby", "for")
        for name in (tag.attributes.get(key) or "").split()
    ]
    assert references and set(references) <= set(ids)
    assert not re.search(r"https?:|//[a-z]|@import|url\((?!#)", page)


def test_only_the_script_of_the_page_may_run():
    page = tokens_page.render_page(make_cleaning(make_report()))
    script = page.partition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = (tag for tag in read(page).find_all("meta") if "http-equiv" in tag.attributes)
    assert policy.attributes["content"] == (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    )


def test_key_figures():
    root = render(make_report())
    (figures,) = root.find_all("dl", "figures")
    pairs = {div.find_all("dt")[0].text: div.find_all("dd")[0].text for div in figures.find_all("div")}
    assert pairs == {
        "kept": "60.01%", "kept tokens": "9,001", "response tokens": "15,000", "cut, nats": "0", "mean influence": "2",
        "examples": "5,120", "without a target": "12",
    }  # fmt: skip
    assert [tag.text for tag in root.find_all("h1")] == ["Token cleaning"]
    assert [tag.text for tag in root.find_all("h2")] == ["Influence", "Kept share by slice", "Tokens", "Examples"]
    caption = root.find_all("figcaption")[0].text
    assert "Tokens exactly at the cut: 1,003; its rank is exact to 0.05% of the tokens." in caption


def test_rounds_are_in_order_and_the_last_is_open():
    root = render(make_report(1), make_report(2, threshold=None), make_report(3))
    (table,) = root.find_all("div", "rounds")
    rows = [[cell.text for cell in row.find_all() if cell.tag in ("td", "th")] for row in table.find_all("tr")[1:]]
    assert rows == [
        ["1", "5,120", "15,000", "9,001", "60.01%", "0", "reference 1"],
        ["2", "5,120", "15,000", "9,001", "60.01%", "none", "reference 2"],
        ["3", "5,120", "15,000", "9,001", "60.01%", "0", "reference 3"],
        ["all", "15,360", "45,000", "27,003", "60.01%", "", ""],
    ]
    assert [tag.text for tag in root.find_all("h2")] == ["Rounds", "Round 1", "Round 2", "Round 3"]
    closed = root.find_all("details", "round")
    assert [[code.text for code in part.find_all("code")] for part in closed] == [["aa1"], ["aa2"]]
    assert all("open" not in part.attributes for part in closed)
    assert root.find_all("code")[-1].text == "aa3"


def test_histogram_keeps_every_token():
    counts = {index: (index % 7, 3) for index in range(-400, 500)}
    report = make_report(influence=make_influence(counts), threshold=0.0)
    histogram = tokens_page.make_histogram(report)
    assert histogram is not None
    assert 40 <= len(histogram.bars) <= 60
    assert sum(bar.kept for bar in histogram.bars) == sum(kept for kept, _ in counts.values())
    assert sum(bar.dropped for bar in histogram.bars) == 3 * len(counts)
    assert [bar.low for bar in histogram.bars].count(-math.inf) == 1
    assert [bar.high for bar in histogram.bars].count(math.inf) <= 1
    for left, right in zip(histogram.bars, histogram.bars[1:], strict=False):
        assert left.high == pytest.approx(right.low)
        assert left.x + left.width <= right.x + 1e-9
    assert histogram.bars[0].x == 0
    assert histogram.bars[-1].x + histogram.bars[-1].width == pytest.approx(1)
    # Each inner bar holds what lies between its ends.
    for bar in histogram.bars[1:-1]:
        inside = [sum(counts[i]) for i in counts if bar.low - 1e-9 <= i * 0.05 < bar.high - 1e-9]
        assert bar.kept + bar.dropped == sum(inside)


def test_outliers_share_the_outer_bars():
    counts = {-4000: (0, 2), -3000: (0, 2), **dict.fromkeys(range(10), (50, 50)), 9000: (1, 0), 9500: (2, 0)}
    histogram = tokens_page.make_histogram(make_report(influence=make_influence(counts)))
    assert histogram is not None
    assert [(bar.kept, bar.dropped) for bar in histogram.bars] == [(0, 4), *[(50, 50)] * 10, (3, 0)]
    assert (histogram.bars[0].high, histogram.bars[-1].low) == pytest.approx((0.0, 0.5))
    assert histogram.peak == 100
    assert histogram.cut == pytest.approx(histogram.bars[1].x), "0 is where the first inner bar begins"


@pytest.mark.parametrize(("threshold", "bar"), [(0.0, 4), (0.25, 4), (-2.0, 0), (5.75, 15)])
def test_cut_stands_at_its_value(threshold: float, bar: int):
    histogram = tokens_page.make_histogram(make_report(threshold=threshold))
    assert histogram is not None and histogram.cut is not None
    place = histogram.bars[bar]
    assert histogram.cut == pytest.approx(place.x + place.width * (threshold - place.low) / 0.5)
    root = render(make_report(threshold=threshold))
    (line,) = root.find_all("line", "cut")
    places = [float((line.attributes[end] or "").removesuffix("%")) for end in ("x1", "x2")]
    assert places == pytest.approx([100 * histogram.cut] * 2, abs=0.001)
    assert root.find_all("text", "cut")[0].text == f"cut {threshold:.4g}".replace("-", "\u2212")


def test_cut_outside_stays_in_the_plot_and_none_is_not_drawn():
    histogram = tokens_page.make_histogram(make_report(threshold=99.0))
    assert histogram is not None and histogram.cut == 1.0
    root = render(make_report(threshold=None, scope="sample"))
    assert root.find_all("line", "cut") == []
    assert "Each sample has a cut of its own." in root.find_all("figcaption")[0].text


def test_ticks_are_round_and_inside():
    histogram = tokens_page.make_histogram(make_report())
    assert histogram is not None
    assert [label for _, label in histogram.x_ticks] == ["\u22122", "0", "2", "4", "6"]
    assert [x for x, _ in histogram.x_ticks] == pytest.approx([0, 0.25, 0.5, 0.75, 1])
    assert histogram.y_ticks == [(0.5, "5"), (1.0, "10")]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_single_bin_is_a_histogram_too(count: int):
    histogram = tokens_page.make_histogram(make_report(influence=make_influence({3: (count, 0)})))
    assert histogram is not None
    assert [(bar.x, bar.width, bar.kept) for bar in histogram.bars] == [(0.0, 1.0, count)]
    assert [label for _, label in histogram.y_ticks] == [str(number + 1) for number in range(count)]


def test_the_drawing_has_the_bars_and_says_what_it_shows():
    (svg,) = render(make_report()).find_all("svg")
    kept = svg.find_all("rect", "kept")
    dropped = [rect for rect in svg.find_all("rect") if (rect.attributes.get("fill") or "").startswith("url(#")]
    assert (len(kept), len(dropped)) == (12, 4)
    assert {rect.attributes["height"] for rect in kept + dropped} == {"200.0"}
    assert "from \u22122 to 6 nats" in svg.find_all("desc")[0].text
    titles = [tag.text for tag in svg.find_all("title")]
    assert "0 to 0.5: 10 kept, 0 dropped" in titles and "\u22120.5 to 0: 0 kept, 10 dropped" in titles


def test_slices_are_sorted_around_the_overall_share():
    (column,) = tokens_page.make_slices(make_report())
    assert [row.value for row in column.rows] == [HOSTILE, "low", "empty"]
    assert [row.share for row in column.rows] == [0.7, 0.4, None]
    assert column.reach == pytest.approx(0.20007)
    assert [row.offset for row in column.rows] == pytest.approx([0.09993 / 0.20007, -1.0, 0.0])
    bars = [bar.find_all("span")[0] for bar in render(make_report()).find_all("td", "bar")]
    assert [bar.attributes["style"] for bar in bars] == [
        "left:50%;width:24.97%",
        "left:0.0%;width:50.0%",
        "left:50.0%;width:0.0%",
    ]


def test_only_the_largest_slices_are_shown():
    slices = {
        f"s{number:03d}": {"examples": 1, "response_tokens": 1000 + number, "kept_tokens": 600} for number in range(145)
    }
    report = make_report(slices={"kind": slices, "few": {"a": slices["s001"]}})
    many, few = tokens_page.make_slices(report)
    assert (len(many.rows), many.num_more, len(few.rows), few.num_more) == (40, 105, 1, 0)
    assert {row.value for row in many.rows} == {f"s{number:03d}" for number in range(105, 145)}
    text = render(report).text
    assert text.count("more, with fewer response tokens each") == 1
    assert "and 105 more, with fewer" in text


def test_tables_of_tokens():
    root = render(make_report())
    rows = [
        [cell.text for cell in row.find_all() if cell.tag in ("td", "th")]
        for region in root.find_all("div", "scroll")
        if (region.attributes["aria-label"] or "").startswith("Most often")
        for row in region.find_all("tr")[1:]
    ]
    assert rows == [
        [HOSTILE.replace(" ", "␣"), "1,120", "30", "97.4%"],
        ["␣↵", "3", "2,040", "0.1%"],
    ]


def test_tokens_of_an_example():
    (response,) = (part for part in render(make_report()).find_all("div", "response"))
    tokens = response.find_all()
    assert response.children == tokens, "white space between tokens would show"
    assert [(token.tag, token.text) for token in tokens] == [
        ("span", " red"), ("s", "↵\n"), ("span", "◌"), ("s", HOSTILE)
    ]  # fmt: skip
    assert [token.classes for token in tokens] == [["l4"], ["l-4"], ["none"], ["l0"]]
    assert [token.attributes["title"] for token in tokens] == [
        "influence 6 nats, kept", "influence \u22122 nats, dropped", "no influence, kept", "influence 0 nats, dropped",
    ]  # fmt: skip


def test_every_example_is_there_and_long_prompts_fold():
    example = make_report().examples[0].model_dump()
    examples = [example | {"example_id": f"id{number}", "prompt": f"P{number} " * 20 * number} for number in range(50)]
    root = render(make_report(examples=examples))
    articles = root.find_all("article")
    assert [article.find_all("code")[0].text for article in articles] == [f"id{number}" for number in range(50)]
    assert {article.find_all("span", "counts")[0].text for article in articles} == {"2 of 4 kept"}
    folded = [len(article.find_all("details", "prompt")) for article in articles]
    assert folded[:5] == [0] * 5 and folded[-5:] == [1] * 5
    assert articles[-1].find_all("details")[0].find_all("div")[0].text == ("P49 " * 20 * 49).rstrip()


def test_random_numbers_are_no_influence():
    root = render(make_report(strategy="random", reference=""))
    assert "No token has an influence: what is kept was drawn at random." in root.text
    assert root.find_all("svg") == [] and root.find_all("p", "scale") == []
    assert "cut" not in [tag.text.partition(",")[0] for tag in root.find_all("dt")]
    tokens = root.find_all("div", "response")[-1].find_all()
    assert [token.attributes["title"] for token in tokens] == ["kept", "dropped", "kept", "dropped"]
    assert {tuple(token.classes) for token in tokens} == {("plain",)}
    (table,) = render(*[make_report(strategy="random")] * 2).find_all("div", "rounds")
    assert [row.find_all("td")[4].text for row in table.find_all("tr")[1:3]] == ["none", "none"]


def test_a_report_of_nothing():
    influence = {"min": None, "max": None, "mean": 0.0, "bin_width": 0.05, "bins": []}
    nothing = {"slices": {}, "tokens": {"dropped": [], "kept": []}, "examples": []}
    root = render(make_report(threshold=None, num_tied_at_threshold=0, influence=influence, **nothing))
    assert "there is none to score" in root.text
    assert "Kept share by slice" not in root.text


def test_a_report_may_hold_no_examples():
    assert "The report holds none." in render(make_report(examples=[])).text


def test_the_page_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch):
    path = tmp_path / "reports" / "page.html"
    tokens_page.write_page(make_cleaning(make_report()), path)
    assert path.read_text(encoding="utf-8") == tokens_page.render_page(make_cleaning(make_report()))
    old = path.read_bytes()

    def fail(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        with pytest.raises(UserError, match=r"page.html \(No space left on device\)"):
            tokens_page.write_page(make_cleaning(make_report(), run_id="run-2"), path)
    assert [file.name for file in path.parent.iterdir()] == ["page.html"]
    assert path.read_bytes() == old
    tokens_page.write_page(make_cleaning(make_report(), run_id="run-2"), path)
    assert b"run run-2" in path.read_bytes()
