import json
from pathlib import Path

import pytest

from components.text.cleaning import COMPOSITION, LEVELS, NORMALIZE, SAFE, STEPS, clean_and_tell, clean_text, has_text


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("plain", "plain"),
        ("", ""),
        ("  around \n", "around"),
        ("a\r\nb\rc\u2028d\u0085e", "a\nb\nc\nd\ne"),
        ("a\n\n\n\nb", "a\n\nb"),
        ("a \t\nb", "a\nb"),
        ("e\u0301", "é"),
        ("a\u00a0b\u3000c", "a b c"),
        ("zero\u200bwidth\ufeff", "zerowidth"),
        ("nul\x00bell\x07tab\t.", "nulbelltab\t."),
        ("    indented\n    code  here", "indented\n    code  here"),
        ("right\u202eleft", "rightleft"),
        ("👩\u200d👩\u200d👧", "👩\u200d👩\u200d👧"),
        ("\ufb01", "\ufb01"),  # a ligature is a character of its own: NFC, not NFKC
        ("e\u200b\u0301", "é"),
    ],
)
def test_normalize(raw, cleaned):
    assert clean_text(raw, NORMALIZE) == cleaned


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("plain", "plain"),
        ("", ""),
        (" \n\t\n", ""),
        ("a\r\nb\rc\u2028d\u0085e", "a\nb\nc\nd\ne"),
        ("\ufeffnul\x00bell\x07tab\t.\x1b[2J", "nulbelltab\t.[2J"),
        # Indentation, of the first line too; blank lines; line breaks of Markdown.
        ("\n  \n    y = x + 1\n    return y\n\n", "    y = x + 1\n    return y"),
        (" context\n-old\n+new", " context\n-old\n+new"),
        ("import os\n\n\ndef f():\n    pass", "import os\n\n\ndef f():\n    pass"),
        ("line one  \nline two", "line one  \nline two"),
        ("page\x0cpage", "page\x0cpage"),
        # What other scripts and typography need.
        ("10\u00a0km, \u3000indented", "10\u00a0km, \u3000indented"),
        ("\u0e01\u200b\u0e02 \u200fabc\u200e", "\u0e01\u200b\u0e02 \u200fabc\u200e"),
        ("e\u0301 \u212b \uf900", "e\u0301 \u212b \uf900"),
        ("👩\u200d👩\u200d👧", "👩\u200d👩\u200d👧"),
    ],
)
def test_safe(raw, cleaned):
    assert clean_text(raw, SAFE) == cleaned


def test_none_changes_nothing():
    text = " \r\n\x00\ufeff e\u0301 \n\n\n\n "
    assert clean_and_tell(text, "none") == (text, [])


def test_what_was_changed_is_told_by_kind():
    assert clean_and_tell("plain\n\n  text", SAFE) == ("plain\n\n  text", [])
    assert clean_and_tell("\na\r\nb\x00 ", SAFE)[1] == [
        "line ends of other systems", "control characters", "blank lines before the text", "blanks behind the text",
    ]  # fmt: skip
    assert clean_and_tell("e\u0301\u200b", NORMALIZE) == ("é", [COMPOSITION, "invisible characters"])
    assert clean_and_tell("a \n\n\nb", NORMALIZE)[1] == ["blanks at line ends", "more than one blank line"]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("character", [" ", "\t", "\n", " \n", "\u00a0", "\x00"])
def test_long_runs_take_no_longer_than_their_length(level, character):
    """A search that begins anew at each blank of a run would take minutes here."""
    run = character * (300_000 // len(character))
    for text in (f"a{run}b", f"{run}b", f"a{run}"):
        clean_text(text, level)


@pytest.mark.parametrize("level", LEVELS)
def test_patterns_are_the_same_for_both_engines(level):
    for step in STEPS[level]:
        assert "(?" not in step.pattern


@pytest.mark.parametrize("level", LEVELS)
def test_cleaning_twice_changes_nothing(level):
    path = Path(__file__).resolve().parents[4] / "shared" / "data" / "naughty-strings" / "blns.json"
    if not path.is_file():
        pytest.skip("needs ../shared/data/naughty-strings, which this checkout does not have beside it")
    for text in json.loads(path.read_text(encoding="utf-8")):
        once = clean_text(text, level)
        assert clean_text(once, level) == once


@pytest.mark.parametrize("text", ["", " \n", "\u200b", "\u200d\ufe0f", "\x00\x1f", "\u3164 \u00a0", "\U000e0020"])
def test_what_cannot_be_seen_is_no_text(text):
    assert not has_text(text)
    assert has_text(f"{text}a") and has_text(f"{text}\U0001f600")
