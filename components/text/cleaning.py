"""Cleaning of text before it becomes tokens, in three levels: `text.cleaning`.

A level is a table of patterns that Python's `re` and TensorFlow's RE2 both understand, because the same cleaning runs in two places: here
for the data, and inside the exported model for requests (`components/trainer/graph_text.py`).
"""

import re
import unicodedata
from collections.abc import Mapping
from typing import Any, NamedTuple

# Nothing; what no text should hold; and what was typed one way or another although it means the same.
NONE, SAFE, NORMALIZE = "none", "safe", "normalize"
LEVELS = (NONE, SAFE, NORMALIZE)


class Step(NamedTuple):
    """One kind of change.

    Attributes:
        kind: Its name in reports.
        pattern: What is replaced. Only literal characters and classes of them: `\\s`, `\\w` and the like mean different sets in `re` and
            in RE2.
        replacement: By what.
        beginning: For `re` alone, before the pattern: where it may begin, so that a long run of blanks is not searched once from each
            of its characters. RE2 needs no such help.
    """

    kind: str
    pattern: str
    replacement: str
    beginning: str = ""


# Unicode's Default_Ignorable_Code_Point, as the inside of a class: what shows nothing where it is not understood.
IGNORABLE = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0"
    "\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_SEEN = re.compile(rf"[^\s\x00-\x1f\x7f-\x9f{IGNORABLE}]")
COMPOSITION = "accents apart from their letters"
# Those of other systems, and Unicode's line and paragraph separators.
_LINE_ENDS = Step("line ends of other systems", "\r\n|\r|\u0085|\u2028|\u2029", "\n")
# C0 and C1 but tab, line feed and form feed; byte-order mark, interlinear annotation.
_CONTROLS = Step("control characters", "[\x00-\x08\x0b\x0e-\x1f\x7f-\x84\x86-\x9f\ufeff\ufff9-\ufffb]", "")
# Also form feed, soft hyphen, zero-width space, word joiner, bidirectional marks and embeddings. Zero-width (non-)joiners stay: emoji and
# several scripts need them.
_INVISIBLE = Step(
    "invisible characters",
    "[\x00-\x08\x0b-\x1f\x7f-\x84\x86-\x9f\u00ad\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff\ufff9-\ufffb]",
    "",
)
_SPACES = Step("spaces of other widths", "[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]", " ")
_LINE_BLANKS = Step("blanks at line ends", "[ \t]+\n", "\n", "(?<![ \t])")
_BLANK_LINES = Step("more than one blank line", "\n\n\n+", "\n\n")
# The blanks before the first line's text are its indentation.
_BEFORE = Step("blank lines before the text", "^([ \t]*\n)+", "")
_AHEAD = Step("blanks before the text", "^[ \t\n]+", "")
_BEHIND = Step("blanks behind the text", "[ \t\n]+$", "", "(?<![ \t\n])")

# In the order in which they are applied. `normalize` composes accents before and after.
STEPS: Mapping[str, tuple[Step, ...]] = {
    NONE: (),
    SAFE: (_LINE_ENDS, _CONTROLS, _BEFORE, _BEHIND),
    NORMALIZE: (_LINE_ENDS, _INVISIBLE, _SPACES, _LINE_BLANKS, _BLANK_LINES, _AHEAD, _BEHIND),
}
# Of answers, whatever the level: the tokenizer puts one there.
END_TOKENS = "end tokens behind an answer"
REASONING = "reasoning that the template leaves out"
KINDS = tuple(
    dict.fromkeys([*(step.kind for level in LEVELS for step in STEPS[level]), COMPOSITION, END_TOKENS, REASONING])
)

_COMPILED = {
    level: tuple((step.kind, re.compile(f"{step.beginning}(?:{step.pattern})"), step.replacement) for step in steps)
    for level, steps in STEPS.items()
}


def has_text(text: str) -> bool:
    """Returns whether there is something to be seen in a text."""
    return _SEEN.search(text) is not None


def clean_text(text: str, level: str) -> str:
    """Returns a text cleaned. Cleaning twice changes nothing.

    - `none`: as it is.
    - `safe`: without control characters, blank lines before and blanks behind it; line ends are `\\n`. Indentation, blank lines, blanks at
      line ends, spaces of all widths and characters of all scripts stay, since they mean something in code, Markdown or prose.
    - `normalize`: in Unicode NFC, without invisible characters, with plain spaces, no blanks at line ends and at most one blank line in a
      row. Indentation and runs of spaces inside a line stay.

    Args:
        text: Any.
        level: One of `LEVELS`.
    """
    return clean_and_tell(text, level)[0]


def clean_and_tell(text: str, level: str) -> tuple[str, list[str]]:
    """Returns a text cleaned, and the kinds of what was changed in it."""
    kinds = []
    if level == NORMALIZE and not unicodedata.is_normalized("NFC", text):
        text = unicodedata.normalize("NFC", text)
        kinds.append(COMPOSITION)
    for kind, pattern, replacement in _COMPILED[level]:
        text, count = pattern.subn(replacement, text)
        if count:
            kinds.append(kind)
    if level == NORMALIZE:
        # Taking an invisible character away can bring a base character and its accent together.
        text = unicodedata.normalize("NFC", text)
    return text, kinds


def get_level(section: Mapping[str, Any]) -> str:
    """Returns the level of a `text` section or a model card; those from before there were levels were made by `normalize`."""
    return str(section.get("cleaning", NORMALIZE))
