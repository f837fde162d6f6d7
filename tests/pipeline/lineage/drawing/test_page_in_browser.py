"""Tests of what the page does, in a real browser."""

import pytest

from pipeline.lineage.drawing import page
from pipeline.lineage.drawing.layout import lay_out
from pipeline.lineage.drawing.select import load_drawing


@pytest.fixture
def write(tmp_path):
    def write_drawing(drawing):
        path = tmp_path / "page.html"
        path.write_text(page.render(drawing, lay_out(drawing)), encoding="utf-8")
        return path

    return write_drawing


@pytest.fixture
def run_page(writer, reader, write):
    """The page of a run that took half of its nodes from the cache."""
    first = writer.record("run-1")
    ran = ("Trainer", "CandidatePredictor", "BaselinePredictor", "Evaluator", "Pusher")
    writer.record("run-2", reuse=first, ran=ran, baseline=first)
    return write(load_drawing(reader, "run-2"))


@pytest.fixture
def tab(chromium, run_page):
    """The page, opened."""
    chromium.open(run_page)
    yield chromium
    assert chromium.problems == []


def locate(tab, title: str) -> tuple[float, float]:
    """Returns where a node is in the window."""
    box = tab.run(
        f"(() => {{ const box = nodes[data.nodes.findIndex(n => n.title === '{title}')].getBoundingClientRect();"
        "return [box.x + box.width / 2, box.y + box.height / 2]; })()"
    )
    return box[0], box[1]


def get_titles(tab, selector: str) -> set[str]:
    return set(tab.run(f"[...scene.querySelectorAll('{selector}')].map(e => data.nodes[nodes.indexOf(e)].title)"))


def get_panel(tab) -> str | None:
    """Returns the text of the panel; None if it is closed."""
    return tab.run("panel.hidden ? null : panel.innerText")


def get_view(tab) -> dict[str, float]:
    return tab.run("({...view})")


def test_it_opens_without_network_and_errors(tab, run_page):
    assert tab.requests == [run_page.resolve().as_uri()]
    assert tab.run("nodes.length === data.nodes.length && edges.length === data.edges.length")
    assert tab.run("getComputedStyle(document.querySelector('h1')).fontWeight") == "650", "the style is let in"


def test_the_texts_of_the_store_stay_texts(chromium, write, hostile_drawing, hostile_texts):
    chromium.open(write(hostile_drawing))
    chromium.run("window.ran = 0; window.alert = () => { window.ran += 1; }")
    for number in range(0, len(hostile_texts), 25):
        chromium.run(f"select({number})")
    assert chromium.run("window.ran") == 0
    assert chromium.run("document.scripts.length") == 2
    assert chromium.problems == []
    assert len(chromium.requests) == 1
    chromium.run("select(0)")
    assert chromium.run("panel.querySelector('h2').textContent") == hostile_texts[0]


def test_a_click_shows_a_node_with_its_links(tab):
    tab.click(*locate(tab, "Trainer"))
    panel = get_panel(tab)
    for text in ("components.trainer.component.Trainer", "run-2", "transformed_examples", '"learning_rate": 0.01'):
        assert text in panel
    assert get_titles(tab, ".node.selected") == {"Trainer"}
    assert {"ExampleGen", "Tokenizer", "transform_graph"} <= get_titles(tab, ".node.up")
    assert {"Evaluator", "Pusher", "pushed_model"} <= get_titles(tab, ".node.down")
    assert not {"StatisticsGen", "PresetImporter"} & get_titles(tab, ".node.up, .node.down")
    assert tab.run("location.hash").startswith("#execution:")
    # The button of a link goes on to the other node.
    tab.run("[...panel.querySelectorAll('.links button')].find(b => b.textContent === 'transform_graph').click()")
    assert get_titles(tab, ".node.selected") == {"transform_graph"}
    assert "TransformGraph" in get_panel(tab)


def test_escape_and_a_click_beside_close_the_panel(tab):
    tab.click(*locate(tab, "Trainer"))
    tab.press("Escape", code=27)
    assert get_panel(tab) is None
    assert tab.run("document.querySelectorAll('.selected, .up, .down').length") == 0
    tab.click(*locate(tab, "Trainer"))
    assert get_panel(tab) is not None
    tab.click(20, 880)
    assert get_panel(tab) is None


def test_the_keyboard_reaches_and_opens_nodes(tab):
    tab.run("nodes[0].focus()")
    assert tab.run("document.activeElement === nodes[0]")
    tab.press("Enter", code=13)
    first = tab.run("data.nodes[0].title")
    assert first in get_panel(tab)
    tab.run("panel.querySelector('button').focus()")
    tab.press("Escape", code=27)
    assert get_panel(tab) is None
    assert tab.run("document.activeElement === nodes[0]"), "the focus goes back to the node"
    tab.press("ArrowDown", code=40)
    there = tab.run("data.nodes[nodes.indexOf(document.activeElement)].box[1] - data.nodes[0].box[1]")
    assert there > 0


def test_search_finds_names_types_properties_and_places(tab):
    tab.press("/", code=191, text="/")
    assert tab.run("document.activeElement === search")
    for words, expected in (
        ("candidatepredictor", {"CandidatePredictor", "predictions"}),
        ("examplestat", {"statistics", "pre_transform_stats", "post_transform_stats"}),
        ("eval_loss_after 2.25", {"model"}),
        ("artifacts/tiny-gpt2/schemagen", {"schema"}),
        ("xyzzy", set()),
    ):
        tab.run("search.select()")
        tab.write(words)
        assert get_titles(tab, ".node.match") == expected, words
    assert tab.run("count.textContent") == "none"
    tab.press("Escape", code=27)
    assert tab.run("search.value") == ""
    assert get_titles(tab, ".node.match") == set()


def test_enter_goes_from_match_to_match(tab):
    tab.run("search.focus()")
    tab.write("stats")
    assert tab.run("count.textContent") == "2 found"
    seen = []
    for _ in range(3):
        tab.press("Enter", code=13)
        seen.append((tab.run("count.textContent"), *get_titles(tab, ".node.selected")))
    assert [count for count, _ in seen] == ["1 of 2", "2 of 2", "1 of 2"]
    assert seen[0] == seen[2] != seen[1]
    tab.press("Enter", code=13, modifiers=8)
    assert tab.run("count.textContent") == "2 of 2"
    x, y = locate(tab, seen[1][1])
    assert 0 < x < 900 and 150 < y < 900, "it is brought into view, beside the panel"
    assert tab.run("document.activeElement === search")


def test_wheel_buttons_and_keys_zoom(tab):
    tab.press("0", code=48, text="0")
    start = get_view(tab)
    x, y = locate(tab, "Trainer")
    tab.mouse("mouseWheel", x, y, deltaX=0, deltaY=-300)
    closer = get_view(tab)
    assert closer["scale"] > 1.3 * start["scale"]
    assert locate(tab, "Trainer") == pytest.approx((x, y), abs=2), "what is under the pointer stays there"
    tab.mouse("mouseWheel", x, y, deltaX=0, deltaY=300)
    assert get_view(tab)["scale"] == pytest.approx(start["scale"])
    tab.run("find('closer').click()")
    assert get_view(tab)["scale"] == pytest.approx(1.3 * start["scale"])
    tab.run("find('farther').click(); find('farther').click()")
    assert get_view(tab)["scale"] == pytest.approx(start["scale"] / 1.3)
    tab.press("0", code=48, text="0")
    assert get_view(tab) == pytest.approx(start)


def test_a_drag_moves_the_picture_and_selects_nothing(tab):
    x, y = locate(tab, "Trainer")
    tab.mouse("mousePressed", x, y, button="left", clickCount=1)
    tab.mouse("mouseMoved", x + 30, y + 10, button="left", buttons=1)
    tab.mouse("mouseMoved", x + 80, y + 40, button="left", buttons=1)
    tab.mouse("mouseReleased", x + 80, y + 40, button="left", clickCount=1)
    assert locate(tab, "Trainer") == pytest.approx((x + 80, y + 40), abs=2)
    assert get_panel(tab) is None


def test_two_fingers_zoom(chromium, run_page):
    chromium.open(run_page, 420, 800)
    chromium.call("Emulation.setTouchEmulationEnabled", enabled=True)
    before = get_view(chromium)["scale"]
    chromium.touch("touchStart", (200, 400), (240, 400))
    chromium.touch("touchMove", (180, 400), (260, 400))
    chromium.touch("touchMove", (160, 400), (280, 400))
    chromium.touch("touchEnd")
    chromium.call("Emulation.setTouchEmulationEnabled", enabled=False)
    assert get_view(chromium)["scale"] > 1.8 * before


def test_the_legend_hides_and_shows(tab):
    tab.run("document.querySelector('[data-group=cached]').click()")
    hidden = get_titles(tab, ".node.off")
    assert "Tokenizer" in hidden and "Trainer" not in hidden
    assert tab.run("edges.every((e, i) => e.classList.contains('off') || data.edges[i][2] !== 'reuse')")
    tab.run("search.focus()")
    tab.write("Tokenizer custom_config")
    assert get_titles(tab, ".node.match") == set(), "what is hidden is not found"
    tab.run("document.querySelector('[data-group=cached]').click()")
    assert get_titles(tab, ".node.off") == set()
    assert get_titles(tab, ".node.match") == {"Tokenizer"}


def test_only_the_path_of_the_selection(tab):
    tab.run("find('path').click()")
    tab.click(*locate(tab, "Transform"))
    shown = get_titles(tab, ".node:not(.off)")
    assert {"ExampleGen", "Transform", "Trainer", "Pusher"} <= shown
    assert not {"StatisticsGen", "anomalies", "PresetPredictor"} & shown
    tab.press("Escape", code=27)
    assert get_titles(tab, ".node.off") == set()


def test_the_place_of_an_artifact_is_copied(tab):
    tab.run("select(data.nodes.findIndex(n => n.title === 'transform_graph'))")
    place = tab.run("panel.querySelector('.uri code').textContent")
    assert place.endswith("/artifacts/tiny-gpt2/Transform/transform_graph/run-1")
    x, y = tab.run(
        "(() => { const b = panel.querySelector('.uri button').getBoundingClientRect(); return [b.x + 9, b.y + 9]; })()"
    )
    tab.click(x, y)
    assert tab.run("panel.querySelector('.uri button').textContent") in ("Copied", "Selected")


def test_long_values_are_folded(writer, reader, write, chromium):
    writer.record("run-1", extra={"log": "line\n" * 50})
    chromium.open(write(load_drawing(reader, "run-1")))
    chromium.run("select(0)")
    assert "line" not in chromium.run(
        "[...panel.querySelectorAll('pre')].map(e => e.checkVisibility() ? e.textContent : '').join('')"
    )
    assert "(250 characters)" in get_panel(chromium)


def test_a_link_to_a_node_opens_it(chromium, run_page):
    chromium.open(run_page)
    assert get_panel(chromium) is None
    first = chromium.run("data.nodes[3].key")
    chromium.open(run_page, fragment=f"#{first}")
    assert chromium.run("selected") == 3
    assert get_panel(chromium) is not None


def test_a_narrow_window_has_the_panel_below(chromium, run_page):
    chromium.open(run_page, 420, 800)
    assert chromium.run("document.documentElement.scrollWidth") == 420
    assert get_view(chromium)["scale"] >= 0.55, "readable"
    chromium.run("select(data.nodes.findIndex(n => n.title === 'Trainer'))")
    chromium.settle()
    box = chromium.run("panel.getBoundingClientRect().toJSON()")
    assert (box["left"], box["right"], box["bottom"]) == (0, 420, 800)
    assert locate(chromium, "Trainer")[1] < box["top"], "the node is in view above it"


def test_colours_follow_the_scheme(chromium, run_page):
    paper = "getComputedStyle(document.body).backgroundColor"
    chromium.open(run_page)
    light = chromium.run(paper)
    chromium.open(run_page, dark=True)
    assert (light, chromium.run(paper)) == ("rgb(252, 251, 249)", "rgb(22, 24, 27)")


def test_fifty_runs(chromium, write, fifty_runs):
    chromium.open(write(load_drawing(fifty_runs, last=50)))
    assert chromium.run("lanes.length") == 50
    assert get_view(chromium)["scale"] >= 0.3
    chromium.run("find('run').value = '40'; find('run').dispatchEvent(new Event('change'))")
    chromium.settle()
    top = chromium.run("lanes[40].getBoundingClientRect().top - canvas.getBoundingClientRect().top")
    assert 0 <= top < 60
    chromium.run("lanes[40].focus()")
    chromium.press("Enter", code=13)
    assert "Run 20261101-000009-000000" in get_panel(chromium)
    assert "code_version" in get_panel(chromium)
    # What many runs share: behind the first readers the others are folded.
    chromium.run("select(data.nodes.findIndex(n => n.title === 'examples'))")
    assert "Written by" in get_panel(chromium)
    assert chromium.problems == []
