"""Cleaning of text before it becomes tokens: Unicode composition, control characters, whitespace.

The steps are a table of patterns that Python's `re` and TensorFlow's RE2 both understand, because the same cleaning runs
in two places: here for the data, and inside the exported model for prompts (`components/trainer/signatures.py`).
"""

import re
import unicodedata

# (pattern, replacement), applied in this order after Unicode NFC. Only literal characters and classes of them: `\s`, `\w`
# and the like mean different sets in `re` and in RE2.
CLEANING_STEPS: tuple[tuple[str, str], ...] = (
    # Line ends of other systems, and Unicode's line and paragraph separators.
    ("\r\n|\r|\u0085|\u2028|\u2029", "\n"),
    # Invisible: C0 and C1 controls but tab and newline, soft hyphen, zero-width space, word joiner, byte-order mark,
    # bidirectional marks and embeddings. Zero-width (non-)joiners stay: emoji and several scripts need them.
    (
        "[\x00-\x08\x0b-\x1f\x7f-\x84\x86-\x9f\u00ad\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff\ufff9-\ufffb]",
        "",
    ),
    # Spaces of other widths.
    ("[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]", " "),
    # Blanks at line ends, more than one blank line in a row, and blank space around the whole.
    ("[ \t]+\n", "\n"),
    ("\n\n\n+", "\n\n"),
    ("^[ \t\n]+|[ \t\n]+$", ""),
)

_COMPILED = tuple((re.compile(pattern), replacement) for pattern, replacement in CLEANING_STEPS)


def clean_text(text: str) -> str:
    """Returns `text` in Unicode NFC, without invisible characters, with plain spaces and at most one blank line in a row.

    Indentation and runs of spaces inside a line stay, since code and tables need them. Cleaning twice changes nothing.
    """
    text = unicodedata.normalize("NFC", text)
    for pattern, replacement in _COMPILED:
        text = pattern.sub(replacement, text)
    # Taking an invisible character away can bring a base character and its accent together.
    return unicodedata.normalize("NFC", text)
