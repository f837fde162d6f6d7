"""Tests of how texts of the store are shown."""

import pytest

from pipeline.lineage import times
from pipeline.lineage.drawing import text


def test_a_line_has_no_character_that_hides_or_reorders():
    assert text.make_line(" a\n\tb \u202ec\x07\ufffe ") == "a b <U+202E>c<U+0007><U+FFFE>"


def test_a_block_keeps_its_lines():
    assert text.make_block("a\r\n\tb\x00") == "a\n\tb<U+0000>"


def test_joiners_belong_to_the_spelling():
    assert text.make_line("\u0645\u06cc\u200c\u062e") == "\u0645\u06cc\u200c\u062e"


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.04, "0.0 s"), (59.9, "59.9 s"), (65.2, "1 min 05 s"), (3720, "1 h 02 min")]
)
def test_durations(seconds, shown):
    assert times.format_duration(seconds) == shown


def test_numbers_that_json_does_not_know_become_text():
    plain = text.make_plain({"a": [float("nan"), 1.5], "b": {"c": float("-inf")}})
    assert plain == {"a": ["nan", 1.5], "b": {"c": "-inf"}}


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ('{"b":1,"a":12345678901234567890}', ('{"b": 1, "a": 12345678901234567890}', True)),
        ("[1]", ("[1]", True)),
        (
            {"é": ["x" * 50, {"a": [0.5, 1]}]},
            (f'{{\n  "é": [\n    "{"x" * 50}",\n    {{"a": [0.5, 1]}}\n  ]\n}}', True),
        ),
        ("{not json", ("{not json", False)),
        ("[" * 100_000, ("[" * 100_000, False)),
        ("text", ("text", False)),
        (5, ("5", False)),
        (True, ("true", False)),
    ],
)
def test_values(value, shown):
    assert text.format_value(value) == shown
