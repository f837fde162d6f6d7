import json
from pathlib import Path

import pytest

from components.text.cleaning import clean_text


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
def test_clean_text(raw, cleaned):
    assert clean_text(raw) == cleaned


def test_cleaning_twice_changes_nothing():
    path = Path(__file__).resolve().parents[4] / "shared" / "data" / "naughty-strings" / "blns.json"
    if not path.is_file():
        pytest.skip("needs ../shared/data/naughty-strings, which this checkout does not have beside it")
    for text in json.loads(path.read_text(encoding="utf-8")):
        once = clean_text(text)
        assert clean_text(once) == once
