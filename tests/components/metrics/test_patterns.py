"""Patterns are found as Python's `re` finds them, and a search that would never end is told."""

import concurrent.futures
import re
import signal

import pytest

from components.errors import UserError
from components.metrics import patterns
from components.metrics.constraints import follows
from components.metrics.metric import Prediction
from components.metrics.regex_match import RegexMatch

ENDLESS = r"^(a|aa)+$"
TEXT = "a" * 200 + "!"


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        (r"^yes$", "yes\n", True),
        (r"a.b", "a\nb", False),
        (r"a{e}", "zzz", False),
        (r"\\frac{d}{dx}", r"\frac{d}{dx}", True),
        (r"^\w+$", "\u0939\u093f\u0928\u094d\u0926\u0940", False),
        (r"\ud800", "\ud800", True),
        ("", "", True),
    ],
)
def test_what_re_finds_is_found(pattern, text, expected):
    assert patterns.is_found(pattern, text) is expected
    assert (re.search(pattern, text) is not None) is expected


@pytest.mark.parametrize("pattern", ["(", "*", r"\p{L}", "a{99999999999}", "(" * 9999, None, 3])
def test_what_is_no_pattern_is_refused(pattern):
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
    assert patterns.is_found("b", "abc")  # another process has taken its place


def test_an_interrupted_search_leaves_no_answer_for_the_next(monkeypatch):
    readline = []

    def interrupt(process, *_):
        readline.append(process.pid)
        process.stdin.write('["a", "a", 9]\n')
        process.stdin.flush()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(patterns._Searcher, "_ask", staticmethod(interrupt))
        with pytest.raises(KeyboardInterrupt):
            patterns.is_found("a", "a")
    assert patterns.is_found("b", "a") is False
    assert patterns._searcher._process.pid != readline[0]


def test_a_process_that_something_else_has_ended_is_replaced_or_told(monkeypatch):
    assert patterns.is_found("a", "a")
    patterns._searcher._process.kill()
    patterns._searcher._process.wait()
    assert patterns.is_found("a", "a")
    monkeypatch.setattr(patterns, "_SEARCH", "raise SystemExit(3)")
    patterns._searcher._process.kill()
    patterns._searcher._process.wait()
    with pytest.raises(RuntimeError, match="has ended with 3"):
        patterns.is_found("a", "a")


def test_an_ignored_signal_is_none_to_the_search(monkeypatch):
    monkeypatch.setattr(patterns, "_MOST_SECONDS", 0.05)
    monkeypatch.setattr(patterns, "_searcher", patterns._Searcher())
    before = signal.signal(signal.SIGALRM, signal.SIG_IGN)
    try:
        with pytest.raises(UserError, match="must be found, or not"):
            patterns.is_found(ENDLESS, TEXT)
    finally:
        signal.signal(signal.SIGALRM, before)


def test_each_thread_gets_the_answer_to_its_own_question():
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda number: patterns.is_found(f"^{number}$", str(number // 2 * 2)), range(200)))
    assert found == [True, False] * 100
