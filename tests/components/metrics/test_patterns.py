"""Patterns are found as Python's `re` finds them, and a search that would never end is told."""

import re

import pytest

from components.errors import UserError
from components.metrics import patterns
from components.metrics.constraints import follows
from components.metrics.metric import Prediction
from components.metrics.regex_match import RegexMatch

ENDLESS = r"^(a|aa)+$"
TEXT = "a" * 200 + "!"


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (r"^yes$", "yes\n"),
        (r"\byes\b", "no, yes"),
        (r"(?i)YES", "yes"),
        (r"(?m)^b$", "a\nb"),
        (r"a.b", "a\nb"),
        (r"[[a]]", "a]"),
        (r"[a||b]", "|"),
        (r"(?<=a)b", "ab"),
        (r"(\w)\1", "hello"),
        (r"\d+", "\u0663"),
        (r"stra(?i:SSE)", "stra\u00dfe"),
        (r"(?P<x>a)(?P=x)", "aa"),
        (r"a{,2}b", "aab"),
        (r"\Z", ""),
    ],
)
@pytest.mark.filterwarnings("ignore:Possible")
def test_the_same_is_found_as_by_re(pattern, text):
    assert patterns.is_found(pattern, text) == (re.search(pattern, text) is not None)


@pytest.mark.parametrize("pattern", [r"\L<words>", "(", "*", r"\p{L}", None])
def test_what_re_does_not_take_is_refused(pattern):
    with pytest.raises(ValueError, match="must be a regular expression"):
        patterns.is_found(pattern, "a")


def test_a_search_that_does_not_end_is_told(monkeypatch):
    monkeypatch.setattr(patterns, "_MOST_SECONDS", 0.05)
    told = (
        r"must be found, or not, within 0\.05 seconds\. Received .* text of 201 characters that begins with 'aaaaaaaa"
    )
    with pytest.raises(UserError, match=told):
        follows(TEXT, "matches", {"pattern": ENDLESS})
    with pytest.raises(UserError, match=told):
        RegexMatch(pattern=ENDLESS).score(Prediction(prompt="", completion=TEXT, reference=""))
