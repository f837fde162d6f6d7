"""Patterns that cut text into words, as regular expressions over classes of characters.

The patterns of byte-pair tokenizers are written for Oniguruma. A TensorFlow graph has RE2, whose classes of characters are those
of an older Unicode, and which has no lookahead. So each character is replaced by a letter for its class first, with classes as
the library `tokenizers` has them; what is left of the pattern then runs on these letters, in RE2 as in Python's `re`.
"""

import functools
import json
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

_CLASSES = Path(__file__).with_name("character_classes.json")
_POINTS = 0x110000
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
# Stands in a run of spaces where no match may go on.
MARK = ";"
# What `tokenizers` takes for the same letter beside its other case.
_FOLDED = {"s": "\u017f", "k": "\u212a"}
_LOOKAHEAD, _SPACES = r"\s+(?!\S)", r"\s+"
_NEWLINES = (r"\s*[\r\n]+", r"\s*[\r\n]")
_TOKEN = re.compile(
    r"\(\?i:|\(\?:|\(\?|\((?!\?)|\)|\||\[|\\[pP]\{\^?\w+\}|\\.|[*+?](?:[?+])?|\{\d+(?:,\d*)?\}[?+]?|.", re.DOTALL
)


class UnknownPatternError(ValueError):
    """A pattern that cannot be carried over; the message says what of it."""


@dataclass(frozen=True, kw_only=True)
class WordPattern:
    """A pattern over letters, each of which stands for a class of characters.

    Attributes:
        blocks: uint8 (number of different blocks, 256), the letter of each character of a block, as ASCII.
        block_of: int32 (0x1100,), which block has the characters from 256 * index on.
        cut: Where a mark is put into a run of spaces, for `re.sub` with `cut_to`; "" for nowhere.
        match: What one word matches; what no match covers are words too, the mark excepted.
    """

    blocks: np.ndarray
    block_of: np.ndarray
    cut: str
    match: str

    cut_to = rf"\1{MARK}\2"

    def classify(self, text: str) -> str:
        """Returns the letters of a text's characters."""
        points = np.array([ord(character) for character in text], np.int32)
        return self.blocks[self.block_of[points >> 8], points & 255].tobytes().decode()

    def split(self, text: str) -> list[str]:
        """Returns the words of a text."""
        letters = self.classify(text)
        marked = re.sub(self.cut, self.cut_to, letters) if self.cut else letters
        parts = re.sub(self.match, r",\g<0>,", marked).replace(MARK, ",").split(",")
        words, place = [], 0
        for part in filter(None, parts):
            words.append(text[place : place + len(part)])
            place += len(part)
        return words


@functools.lru_cache(maxsize=32)
def compile_pattern(pattern: str) -> WordPattern:
    r"""Returns a pattern of Oniguruma over classes of characters.

    Of lookarounds it may have one, the usual `\s+(?!\S)` of GPT-2 and its descendants: spaces but the last one before a word.

    Raises:
        UnknownPatternError: If there is something in it that is not carried over.
    """
    branches = list(_split_branches(pattern))
    lookahead = _LOOKAHEAD in branches
    if lookahead:
        if branches[-1] != _SPACES or branches.count(_LOOKAHEAD) > 1:
            raise UnknownPatternError(f"`{_LOOKAHEAD}` without `{_SPACES}` at the end")
        branches.remove(_LOOKAHEAD)
    items = [_parse_branch(branch) for branch in branches]
    sets = [item for branch in items for item in branch if not isinstance(item, str)]
    spaces = _find_class("s")
    # Where newlines have a branch of their own, a newline at the end of a run of spaces is never left to the next word.
    flat = spaces & ~_make_set("\r\n") if any(newlines in branches for newlines in _NEWLINES) else spaces
    letters = _assign_letters([*sets, spaces, flat])

    def write(members: np.ndarray, *, outside: bool = False) -> str:
        found = sorted(set(map(chr, np.unique(letters[members]))))
        if not found and not outside:
            raise UnknownPatternError("a class without characters")
        return f"[{'^' if outside else ''}{''.join(found)}{MARK if outside else ''}]"

    match = "|".join("".join(item if isinstance(item, str) else write(item) for item in branch) for branch in items)
    cut = f"({write(flat)})({write(flat)}{write(spaces, outside=True)})" if lookahead else ""
    compiled = WordPattern(**_make_blocks(letters), cut=cut, match=match)
    _check(pattern, compiled, letters)
    return compiled


def match_class(name: str, *, repeated: bool) -> WordPattern:
    """Returns the pattern of one character of a class of `character_classes.json`, or of a run of them."""
    members = _find_class(name)
    letters = np.where(members, ord("A"), ord("B")).astype(np.uint8)
    return WordPattern(**_make_blocks(letters), cut="", match="A+" if repeated else "A")


def _check(pattern: str, compiled: WordPattern, letters: np.ndarray) -> None:
    """Compares with the library on short texts of all classes, spaces above all."""
    from tokenizers import Regex, pre_tokenizers

    reference = pre_tokenizers.Split(Regex(pattern), "isolated")
    generator = random.Random(0)
    examples = [int(np.argmax(letters[1:0xD800] == letter)) + 1 for letter in range(128)]
    characters = [*map(chr, set(examples)), *"  \n\t\u00a0aA1.'"]
    for _ in range(600):
        text = "".join(generator.choices(characters, k=generator.randint(1, 8)))
        expected = [piece for piece, _ in reference.pre_tokenize_str(text)]
        if compiled.split(text) != expected:
            raise UnknownPatternError(f"{text!r} would be cut into {compiled.split(text)} instead of {expected}")


def _split_branches(pattern: str) -> Iterator[str]:
    """Yields the alternatives of the outermost level."""
    depth = start = place = 0
    while place < len(pattern):
        character = pattern[place]
        if character == "\\":
            place += 1
        elif character == "[":
            place = _find_end_of_class(pattern, place)
        elif character in "()":
            depth += 1 if character == "(" else -1
        elif character == "|" and not depth:
            yield pattern[start:place]
            start = place + 1
        place += 1
    yield pattern[start:]


def _parse_branch(branch: str) -> list[Any]:
    """Returns sets of characters, bool (0x110000,), and what stands between them, as `re` and RE2 have it."""
    items: list[Any] = []
    depth, folded = 0, 0  # how deep in groups; from which depth on upper and lower case are the same
    place = 0
    while place < len(branch):
        match = _TOKEN.match(branch, place)
        assert match is not None  # the last alternative is any character
        token = match[0]
        place = match.end()
        if token in ("(?i:", "(?:", "("):
            depth += 1
            folded = folded or (depth if token == "(?i:" else 0)
            items.append("(?:")
        elif token == ")":
            folded = 0 if folded == depth else folded
            depth -= 1
            items.append(token)
        elif token == "[":
            end = _find_end_of_class(branch, place - 1)
            if folded:
                raise UnknownPatternError("a class inside of (?i:...)")
            items.append(_parse_class(branch[place - 1 : end + 1]))
            place = end + 1
        elif token == "|" or (token[0] in "*+?{" and not token.endswith("+", 1)):
            items.append(token)
        elif token == "(?" or token[0] in "*+?{" or token in "^$.":
            raise UnknownPatternError(f"`{branch[match.start() : match.start() + 5]}` in `{branch}`")
        else:
            members = _parse_character(token)
            if folded and len(token) == 1 and token.isalpha():
                members = _make_set(token.lower() + token.upper() + _FOLDED.get(token.lower(), ""))
            items.append(members)
    return items


def _parse_class(text: str) -> np.ndarray:
    """Returns the set of a class in brackets, which may have others inside."""
    negative = text.startswith("[^")
    place = 2 if negative else 1
    members = np.zeros(_POINTS, bool)
    while place < len(text) - 1:
        if text[place] == "[":
            end = _find_end_of_class(text, place)
            members = members | _parse_class(text[place : end + 1])
            place = end + 1
            continue
        match = _TOKEN.match(text, place) if text[place] == "\\" else None
        token = match[0] if match else text[place]
        place += len(token)
        if text.startswith("&&", place - len(token)):
            raise UnknownPatternError("an intersection of classes")
        if text[place] == "-" and text[place + 1] != "]":
            after = _TOKEN.match(text, place + 1) if text[place + 1] == "\\" else None
            last = after[0] if after else text[place + 1]
            place += 1 + len(last)
            members = members.copy()
            members[_find_point(token) : _find_point(last) + 1] = True
        else:
            members = members | _parse_character(token)
    return ~members if negative else members


def _parse_character(token: str) -> np.ndarray:
    if not token.startswith("\\"):
        return _make_set(token)
    if token[1] in "pP":
        name = token[3:-1]
        negative = (token[1] == "P") != name.startswith("^")
        members = _find_class(name.lstrip("^"))
        return ~members if negative else members
    if token[1] in "sSdD":
        members = _find_class({"s": "s", "d": "Nd"}[token[1].lower()])
        return ~members if token[1].isupper() else members
    return _make_set(chr(_find_point(token)))


def _find_point(token: str) -> int:
    if not token.startswith("\\"):
        return ord(token)
    escapes = {"n": "\n", "r": "\r", "t": "\t", "f": "\f", "v": "\v"}
    if token[1] not in escapes and token[1].isalnum():
        raise UnknownPatternError(f"`{token}`")
    return ord(escapes.get(token[1], token[1]))


def _find_end_of_class(text: str, start: int) -> int:
    depth, place = 0, start
    while place < len(text):
        if text[place] == "\\":
            place += 1
        elif text[place] == "[":
            depth += 1
        elif text[place] == "]":
            depth -= 1
            if not depth:
                return place
        place += 1
    raise UnknownPatternError("a class without end")


def _make_set(characters: str) -> np.ndarray:
    members = np.zeros(_POINTS, bool)
    members[[ord(character) for character in characters]] = True
    return members


@functools.cache
def _find_class(name: str) -> np.ndarray:
    classes = json.loads(_CLASSES.read_text(encoding="utf-8"))["classes"]
    if name not in classes:
        raise UnknownPatternError(f"the class `{name}`")
    members = np.zeros(_POINTS, bool)
    for part in classes[name].split():
        first, _, last = part.partition("-")
        members[int(first, 16) : int(last or first, 16) + 1] = True
    members.setflags(write=False)
    return members


def _assign_letters(sets: list[np.ndarray]) -> np.ndarray:
    """Returns the letter of each character, uint8 (0x110000,): equal for those that are in the same sets."""
    # Characters that stand side by side are mostly in the same sets: runs of them are few.
    changes = np.zeros(_POINTS, bool)
    changes[0] = True
    for members in sets:
        changes[1:] |= members[1:] != members[:-1]
    starts = np.flatnonzero(changes)
    number_of: dict[bytes, int] = {}
    memberships = np.stack([members[starts] for members in sets], axis=1)  # (runs, sets)
    numbers = [number_of.setdefault(row.tobytes(), len(number_of)) for row in memberships]
    if len(number_of) > len(_LETTERS):
        raise UnknownPatternError(f"more than {len(_LETTERS)} classes of characters")
    codes = np.frombuffer(_LETTERS.encode(), np.uint8)[numbers]
    return np.repeat(codes, np.diff(np.append(starts, _POINTS)))


def _make_blocks(letters: np.ndarray) -> dict[str, np.ndarray]:
    """Returns `blocks` and `block_of` of a `WordPattern`."""
    rows = letters.reshape(-1, 256)
    number_of: dict[bytes, int] = {}
    block_of = np.array([number_of.setdefault(row.tobytes(), len(number_of)) for row in rows], np.int32)
    blocks = np.frombuffer(b"".join(number_of), np.uint8).reshape(-1, 256)
    return {"blocks": blocks, "block_of": block_of}
