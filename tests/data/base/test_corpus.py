import gzip
import textwrap
from pathlib import Path

import pytest

from data.base.corpus import find_text_files, load_corpus, make_paragraphs, split_tail

PARAGRAPHS = [
    "The rain had fallen since the morning, and the lane that led down to the old mill was now a brook, over which the "
    "children leapt.",
    '"You will be wet to the bone," said their aunt.',
    "They laughed, and did not come in until the bell rang for supper; then they came all at once, and the floor of the "
    "kitchen was as wet as the lane, and nobody minded.",
]


@pytest.mark.parametrize("width", [60, 72])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_wrapped_prose_becomes_its_paragraphs_again(width: int, line_end: str) -> None:
    # A book's worth of lines: the width of the page is read off their lengths.
    book = PARAGRAPHS * 40
    lines = [line for paragraph in book for line in textwrap.wrap(paragraph, width, break_on_hyphens=False)]
    assert make_paragraphs(line_end.join(lines)) == book


def test_unwrapped_prose_stays_as_it_is_but_for_its_longest_paragraphs() -> None:
    book = [" ".join(["Then they went on."] * (1 + index * 7 % 50)) for index in range(200)]
    paragraphs = make_paragraphs("\n".join(book))
    assert 194 <= len(paragraphs) <= 200
    assert " ".join(paragraphs) == " ".join(book)


def test_words_cut_at_a_hyphen_or_dash_are_joined_without_a_space() -> None:
    text = (
        "He sat down in the dark corner of the room at the old spinning-\n"
        "wheel and said nothing at all to any of them, until at last she--\n"
        "for it was she--went away, and nobody asked him where she had been."
    )
    assert "spinning-wheel" in make_paragraphs(text)[0]
    assert "she--for" in make_paragraphs(text)[0]


def test_speeches_become_one_paragraph_each() -> None:
    text = "First Citizen:\nSpeak, then:\nwe hear.\n\nAll:\nSpeak, speak.\n"
    assert make_paragraphs(text) == ["First Citizen: Speak, then: we hear.", "All: Speak, speak."]


def test_typography_becomes_ascii_and_emphasis_marks_go() -> None:
    text = "\ufeffShe said: \u201cI _must_ go\u201d \u2014 and it\u2019s\u00a0late,  she  thought, far too late for any walk."
    assert make_paragraphs(text) == ['She said: "I must go" -- and it\'s late, she thought, far too late for any walk.']


@pytest.mark.parametrize("text", ["", "\n", " \r\n \n"])
def test_empty_text_has_no_paragraphs(text: str) -> None:
    assert make_paragraphs(text) == []


def test_split_tail_cuts_between_paragraphs() -> None:
    paragraphs = ["a" * 50, "b" * 30, "c" * 10, "d" * 10]
    assert split_tail(paragraphs, 0.2) == (paragraphs[:2], paragraphs[2:])
    assert split_tail(paragraphs, 0.19) == (paragraphs[:3], paragraphs[3:])
    assert split_tail(paragraphs, 0.0) == (paragraphs, [])
    assert split_tail(paragraphs, 1.0) == (paragraphs[:1], paragraphs[1:])


def test_load_corpus_reads_plain_and_gzip_files_the_same(tmp_path: Path) -> None:
    book = PARAGRAPHS * 10
    lines = [line for paragraph in book for line in textwrap.wrap(paragraph, 72)]
    content = "\r\n".join(lines).encode()
    (tmp_path / "plain.txt").write_bytes(content)
    (tmp_path / "packed.txt.gz").write_bytes(gzip.compress(content))
    (tmp_path / "other.tsv").write_bytes(b"not a book")
    packed, plain = load_corpus([tmp_path], held_out_share=0.11)
    assert (packed.name, plain.name) == (f"{tmp_path.name}/packed", f"{tmp_path.name}/plain")
    assert packed.sha256 == plain.sha256
    assert [*plain.train, *plain.held_out] == book == [*packed.train, *packed.held_out]
    assert plain.held_out == PARAGRAPHS


def test_missing_corpus_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"No such corpus file or folder.*nowhere"):
        find_text_files([tmp_path / "nowhere"])
    with pytest.raises(FileNotFoundError, match="at least one"):
        find_text_files([tmp_path])
