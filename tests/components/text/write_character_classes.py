"""Writes `components/text/character_classes.json`: the characters of each class as the library `tokenizers` has them.

    python tests/components/text/write_character_classes.py

Its regular expressions (Oniguruma) and its own rules for digits and punctuation know other versions of Unicode than Python does.
"""

import json
from importlib.metadata import version
from pathlib import Path

from tokenizers import Regex, normalizers, pre_tokenizers

TARGET = Path(__file__).resolve().parents[3] / "components" / "text" / "character_classes.json"
CLASSES = ("L", "Lu", "Ll", "Lt", "Lm", "Lo", "M", "N", "Nd", "P", "S", "Z")
CHARACTERS = "".join(chr(point) for point in range(1, 0x110000) if not 0xD800 <= point < 0xE000)


def list_matches(character_class):
    """Returns the code points that a class of a regular expression has."""
    return sorted(map(ord, normalizers.Replace(Regex(f"[^{character_class}]+"), "").normalize_str(CHARACTERS)))


def list_isolated(pre_tokenizer):
    """Returns the code points that a pre-tokenizer makes words of their own."""
    found, size = [], 20000
    for start in range(0, len(CHARACTERS), size):
        # A letter on both sides of each: what stands alone is isolated, the rest is one word with its neighbours.
        text = "a" + "a".join(CHARACTERS[start : start + size]) + "a"
        found += [ord(piece) for piece, _ in pre_tokenizer.pre_tokenize_str(text) if len(piece) == 1 and piece != "a"]
    return sorted(found)


def write_ranges(points):
    """Returns code points as text: hexadecimal, "first-last" or a single one, with a space between."""
    ranges = []
    for point in points:
        if ranges and ranges[-1][1] == point - 1:
            ranges[-1][1] = point
        else:
            ranges.append([point, point])
    return " ".join(f"{first:x}-{last:x}" if last > first else f"{first:x}" for first, last in ranges)


def make_classes():
    """Returns all classes by name, as text."""
    found = {"s": write_ranges(list_matches(r"\s"))}
    found |= {name: write_ranges(list_matches(rf"\p{{{name}}}")) for name in CLASSES}
    # Not of regular expressions, but of the pre-tokenizers of these names.
    found["Digits"] = write_ranges(list_isolated(pre_tokenizers.Digits(individual_digits=True)))
    found["Punctuation"] = write_ranges(list_isolated(pre_tokenizers.Punctuation()))
    return found


if __name__ == "__main__":
    content = {"made with": f"tokenizers {version('tokenizers')}", "classes": make_classes()}
    TARGET.write_text(json.dumps(content, indent=0) + "\n", encoding="utf-8")
