"""Text of strangers as people may be shown it: no character in it commands a terminal, hides, or reorders what stands around it."""

import json
import unicodedata
from typing import Any

# Zero width joiner and non-joiner: they belong to the spelling of some scripts, and reorder nothing.
JOINERS = "\u200c\u200d"
# Control characters, those that reorder text or show nothing, halves of characters, and other line ends than \n.
HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def make_harmless(text: str, hidden: frozenset[str] = HIDDEN) -> str:
    """Returns a text with `<U+001B>` in place of each character that does more than to be seen; line ends, tabs and blanks stay.

    Args:
        text: Any.
        hidden: Categories of Unicode.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(char if char in "\n\t " else show_character(char, hidden) for char in text)


def dump_json(value: Any) -> str:
    """Returns a value as indented JSON that may be printed: in its texts, the same characters are escaped as JSON can."""
    return escape_json(json.dumps(value, indent=2, ensure_ascii=False))


def escape_json(text: str) -> str:
    """Returns JSON of the same meaning that may be printed, see `dump_json`."""
    hidden = {ord(char): json.dumps(char)[1:-1] for char in {*text} - {"\n"} if show_character(char) != char}
    return text.translate(hidden)


def show_character(char: str, hidden: frozenset[str] = HIDDEN) -> str:
    """Returns a character, or its number if it is a hidden one."""
    is_hidden = char not in JOINERS and unicodedata.category(char) in hidden
    return f"<U+{ord(char):04X}>" if is_hidden else char
