"""The summary's pieces that need no run."""

import pytest

from pipeline.summary import _format, _pick_options


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "-"), (float("nan"), "nan"), (float("inf"), "inf"), (12345.0, "12,345"), (0.123456, "0.1235"), (0.0, "0")],
)
def test_numbers(value, shown):
    assert _format(value) == shown


def test_place_options_are_handed_on():
    arguments = ["run.yaml", "--root", "a b", "--set", "x=1", "--runner=mine.yaml"]
    assert _pick_options(arguments, ("--runner", "--root")) == ["--root", "a b", "--runner=mine.yaml"]
