"""Tests of how tokens are shown, and of the terminal's view of token cleaning."""

import json
from typing import Any

import pytest
from rich.console import Console

from pipeline import tokens_report, tokens_store, tokens_view

ORANGE, BLUE = "48;2;168;84;0", "48;2;27;102;165"


def make_report(tokens: list[tuple[str, float | None, bool]], number: int = 1, **changes: Any) -> tokens_report.Report:
    """Influences run evenly from -2 to 6; the cut is at 0."""
    bins = [{"low": low / 2, "kept": 10 * (low >= 0), "dropped": 10 * (low < 0)} for low in range(-4, 12)]
    content = {
        "format_version": 1, "strategy": "fixed", "scope": "dataset", "keep": 0.75, "round": number, "base": "tiny",
        "reference": f"reference {number}", "num_examples": 5120, "num_examples_without_target": 12,
        "num_response_tokens": 15000, "num_kept_tokens": 9001, "kept_share": 0.60007, "threshold": 0.0,
        "rank_error_bound": 0.0005, "num_tied_at_threshold": 3,
        "influence": {"min": -2.0, "max": 6.0, "mean": 2.0, "bin_width": 0.5, "bins": bins},
        "slices": {},
        "tokens": {"dropped": [{"token_id": 5, "text": " the", "dropped": 1120, "kept": 30}],
                   "kept": [{"token_id": 6, "text": "\n", "dropped": 3, "kept": 2040}]},
        "examples": [{"example_id": "aa11", "slices": {"kind": "[bold]x"}, "prompt": "A [red]prompt\x1b[2J",
                      "tokens": [{"text": text, "influence": i, "kept": kept} for text, i, kept in tokens]}],
        "source": {},
    } | changes  # fmt: skip
    return tokens_report.Report.model_validate(content)


def show(*reports: tokens_report.Report, coloured: bool = False) -> str:
    cleaning = tokens_store.Cleaning(run_id="run-1", pipeline_name="tiny", reports=reports)
    found = [(report, report.examples[0]) for report in reports if report.examples]
    console = Console(
        width=120, highlight=False, force_terminal=coloured, color_system="truecolor" if coloured else None
    )
    with console.capture() as capture:
        console.print(tokens_view.render(cleaning, found, coloured=coloured))
    return capture.get()


@pytest.mark.parametrize(
    ("text", "alone", "among_others"),
    [
        (" the", "␣the", " the"),
        (" ", "␣", "␣"),
        ("\n", "↵", "↵\n"),
        (" \n", "␣↵", "␣↵\n"),
        ("\ta b", "⇥a␣b", "⇥a b"),
        ("", "◌", "◌"),
        ("\x00\x1b[31m\r\x85", "<U+0000><U+001B>[31m<U+000D><U+0085>", "<U+0000><U+001B>[31m<U+000D><U+0085>"),
        ("\u202eab\u2066", "<U+202E>ab<U+2066>", "<U+202E>ab<U+2066>"),
        ("\u00a0\u2028\ufeff", "<U+00A0><U+2028><U+FEFF>", "<U+00A0><U+2028><U+FEFF>"),
        ("שלום é 日本 \ufffd", "שלום␣é␣日本␣\ufffd", "שלום é 日本 \ufffd"),
        ("👩\u200d🔬", "👩\u200d🔬", "👩\u200d🔬"),
    ],
)
def test_what_shows_nothing_gets_a_sign(text: str, alone: str, among_others: str):
    assert tokens_view.make_visible(text) == alone
    assert tokens_view.make_visible_in_text(text) == among_others


def test_longer_text_keeps_its_lines():
    assert tokens_view.make_harmless("a b\n\tc\x1b\u202e") == "a b\n\tc<U+001B><U+202E>"


def test_the_scale_is_paler_towards_the_cut():
    scale = tokens_view.make_scale(make_report([]))
    assert scale is not None
    assert (scale.low, scale.centre, scale.high) == pytest.approx((-1.84, 0.0, 5.84))
    influences = [None, -99.0, -1.84, -0.5, -0.1, 0.0, 0.7, 0.8, 3.0, 5.84, 99.0]
    assert [scale.get_level(influence) for influence in influences] == [None, -4, -4, -1, 0, 0, 0, 1, 2, 4, 4]
    assert [scale.get_level(scale.get_influence(level)) for level in range(-4, 5)] == list(range(-4, 5))


def test_without_a_cut_the_scale_is_around_where_it_would_be():
    scale = tokens_view.make_scale(make_report([], threshold=None, scope="sample"))
    assert scale is not None
    assert scale.centre == pytest.approx(0.0), "a quarter of the tokens lies below"


def test_all_tokens_alike_have_a_scale_too():
    influence = {"min": 0.0, "max": 0.0, "mean": 0.0, "bin_width": 0.5, "bins": [{"low": 0.0, "kept": 3, "dropped": 0}]}
    scale = tokens_view.make_scale(make_report([], influence=influence))
    assert scale is not None
    assert scale.get_level(0.0) == 0


def test_random_numbers_are_no_influence():
    report = make_report([(" red", 6.0, True), (" blue", -2.0, False)], strategy="random", reference="")
    assert tokens_view.make_scale(report) is None
    shown = show(report, coloured=True)
    assert "none, drawn at random" in shown and " red" in shown
    assert "influence" not in shown
    assert BLUE not in shown and ORANGE not in shown
    row = next(line for line in show(report, report).splitlines() if line.split()[:1] == ["1"])
    assert row.split()[-2:] == ["none", "none"], "neither a cut nor a reference"


def test_no_tokens_no_scale():
    influence = {"min": None, "max": None, "mean": 0.0, "bin_width": 0.05, "bins": []}
    assert tokens_view.make_scale(make_report([], influence=influence, threshold=None)) is None


def test_summary():
    lines = [line.strip().split(maxsplit=1) for line in show(make_report([])).splitlines()]
    assert ["Strategy", "fixed, scope dataset, keep 0.75"] in lines
    assert ["Kept", "9,001 of 15,000 response tokens, 60.01%"] in lines
    assert ["Cut", "influence 0 nats, tied at it: 3"] in lines
    assert ["Examples", "5,120, 12 of them without a target"] in lines
    assert ["Reference", "reference 1"] in lines
    assert ["Most", "dropped  ␣the 1,120"] in lines
    assert ["Most", "kept     ↵ 2,040"] in lines


def test_cut_by_sample():
    assert "each sample has its own" in show(make_report([], threshold=None, scope="sample"))


def test_rounds_stand_in_a_table():
    shown = show(make_report([], 1, threshold=-0.5), make_report([], 2, threshold=None))
    rows = [line.split() for line in shown.splitlines()]
    assert ["1", "5,120", "15,000", "9,001", "60.01%", "\u22120.5", "reference", "1"] in rows
    assert ["2", "5,120", "15,000", "9,001", "60.01%", "none", "reference", "2"] in rows
    assert ["all", "10,240", "30,000", "18,002", "60.01%"] in rows
    assert "Example aa11, round 1, " in shown and "Example aa11, round 2, " in shown
    assert "round" not in show(make_report([]))


def test_dropped_tokens_are_marked_without_colours():
    tokens = [("The", 1.0, True), (" quick", -1.0, False), (" red", -1.0, False), (" fox", 2.0, True), (".", 0, False)]
    shown = show(make_report(tokens))
    assert "\n  The~ quick red~ fox~.~\n" in shown
    assert "kind [bold]x: 2 of 5 tokens kept" in shown
    assert shown.splitlines()[-1] == "~dropped~  the model reads it, but does not learn it"


def test_hostile_text_commands_nothing():
    shown = show(make_report([("\x1b[31m", 1.0, True), ("[/red]", 1.0, True), ("\x07", 1.0, True)]))
    assert "<U+001B>[31m[/red]<U+0007>" in shown
    assert "A [red]prompt<U+001B>[2J" in shown
    assert "\x1b" not in shown and "\x07" not in shown


def test_colours_tell_influence_and_a_line_what_was_dropped():
    tokens = [
        ("low", -2.0, False),
        ("high", 6.0, True),
        ("cut", 0.0, True),
        ("unknown", None, True),
        ("odd", 6.0, False),
    ]
    shown = show(make_report(tokens), coloured=True)
    styles = {word: shown.split(f"m{word}\x1b")[0].rpartition("\x1b[")[2].split(";") for word, _, _ in tokens[:2]}
    assert styles["low"] == ["9", "38", "2", "255", "255", "255", *ORANGE.split(";")]
    assert styles["high"] == ["38", "2", "255", "255", "255", *BLUE.split(";")]
    assert "cutunknown" in shown, "neither has a colour"
    assert f"9;38;2;255;255;255;{BLUE}modd" in shown, "a kept colour does not hide that it was dropped"
    assert "influence in nats" in shown and "influence in nats" not in show(make_report(tokens))


def test_json():
    cleaning = tokens_store.Cleaning(run_id="run-1", pipeline_name="tiny", reports=(make_report([("é", 1.0, True)]),))
    told = json.loads(tokens_view.to_json(cleaning))
    assert told["reports"][0]["examples"][0]["tokens"] == [{"text": "é", "influence": 1.0, "kept": True}]
    assert json.loads(tokens_view.to_json(cleaning, []))["reports"] == []
