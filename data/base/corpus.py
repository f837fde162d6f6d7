"""Read public-domain books and turn them into clean paragraphs.

Pure text functions: no TensorFlow here, so that the tests of the rules below run in milliseconds.
"""

import gzip
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

# Typographic characters that the corpus holds in a few places, written as the ASCII that the rest of it uses.
_ASCII = str.maketrans(
    {"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u2014": "--", "\u00a0": " ", "\ufeff": ""}
)
_EMPHASIS = re.compile(r"_([^_\n]+)_")
_SPACES = re.compile(r"[ \t]+")
# Below this median length the lines are verse or drama: speeches parted by blank lines, not wrapped prose.
_VERSE_LINE_LENGTH = 50


@dataclass(frozen=True, kw_only=True)
class Book:
    """One book as paragraphs, without line breaks inside them.

    Attributes:
        name: Folder and file name without suffixes.
        sha256: Hash of the uncompressed bytes, so that a report can name exactly what was read.
        train: Paragraphs for training, in order.
        held_out: The last paragraphs of the book, which training never sees.
    """

    name: str
    sha256: str
    train: Sequence[str]
    held_out: Sequence[str]


def find_text_files(paths: Iterable[Path]) -> list[Path]:
    """Return the `.txt` and `.txt.gz` files among `paths` and inside the folders among them, sorted by name.

    Raises:
        FileNotFoundError: If a path does not exist, or none of them holds a text file.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            files += [*path.glob("*.txt"), *path.glob("*.txt.gz")]
        elif path.is_file():
            files.append(path)
        else:
            raise FileNotFoundError(f"No such corpus file or folder. Received: '{path}'.")
    if not files:
        raise FileNotFoundError(
            "A corpus needs at least one .txt or .txt.gz file. Received: " + ", ".join(map(str, paths))
        )
    return sorted(files, key=lambda file: (file.name, str(file)))


def _unwrap_prose(lines: Sequence[str]) -> list[str]:
    """Join the lines of hard-wrapped prose.

    The files mark paragraphs neither by blank lines nor by indents. But the text was wrapped greedily: a line ended because
    the next word did not fit. So where the next word would have fitted, the writer ended a paragraph. (The price: in a file that
    is not wrapped at all, the longest paragraphs, one in a hundred, are joined to the next one.)
    """
    width = int(np.percentile([len(line) for line in lines if line], 99)) if any(lines) else 0
    paragraphs: list[str] = []
    current = ""
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if not current or current.endswith("--") or (current.endswith("-") and current[-2:-1].isalpha()):
            current += line
        else:
            current += " " + line
        next_word = following.split(" ", 1)[0]
        # Editors' wrapping is a little ragged: a small letter goes on with the sentence all the same.
        fits = len(line) + 1 + len(next_word) <= width and not next_word[:1].islower()
        if not following or fits:
            paragraphs.append(current)
            current = ""
    return [*paragraphs, current]


def _join_speeches(lines: Sequence[str]) -> list[str]:
    """Join the lines of verse or drama between blank lines."""
    return [" ".join(block.split("\n")) for block in "\n".join(lines).split("\n\n")]


def make_paragraphs(text: str) -> list[str]:
    """Return the paragraphs of a plain-text book: no line break inside one, no empty one, single spaces.

    Args:
        text: The file's text, with any line ends, wrapped at any width or not at all.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n").translate(_ASCII)
    lines = [line.strip() for line in text.split("\n")]
    lengths = [len(line) for line in lines if line]
    if not lengths:
        return []
    join = _join_speeches if np.median(lengths) < _VERSE_LINE_LENGTH else _unwrap_prose
    paragraphs = (_SPACES.sub(" ", _EMPHASIS.sub(r"\1", paragraph)).strip() for paragraph in join(lines))
    return [paragraph for paragraph in paragraphs if paragraph]


def split_tail(paragraphs: Sequence[str], share: float) -> tuple[list[str], list[str]]:
    """Cut off the last paragraphs that together hold about `share` of the characters.

    Args:
        paragraphs: The whole book.
        share: Between 0 and 1.

    Returns:
        The paragraphs before the cut and those after it; the first part is never empty.
    """
    budget = share * sum(map(len, paragraphs))
    cut = len(paragraphs)
    while cut > 1 and budget >= len(paragraphs[cut - 1]):
        cut -= 1
        budget -= len(paragraphs[cut])
    return list(paragraphs[:cut]), list(paragraphs[cut:])


def load_corpus(paths: Iterable[Path], held_out_share: float) -> list[Book]:
    """Read every book under `paths` and hold out the tail of each.

    Args:
        paths: Files or folders.
        held_out_share: Share of the characters of each book that goes to `Book.held_out`.
    """
    books = []
    for file in find_text_files(paths):
        content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        train, held_out = split_tail(make_paragraphs(content.decode("utf-8")), held_out_share)
        books.append(
            Book(
                name=f"{file.parent.name}/{file.name.removesuffix('.gz').removesuffix('.txt')}",
                sha256=hashlib.sha256(content).hexdigest(),
                train=train,
                held_out=held_out,
            )
        )
    return books
