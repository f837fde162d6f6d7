"""Patterns over classes of characters cut texts as the library `tokenizers` does; what cannot be carried over is refused."""

import importlib.util
import json
import random
from pathlib import Path

import pytest
from tokenizers import Regex, pre_tokenizers

from components.text import tokenizer_rules
from components.text.graph_rules import GPT2_PATTERN
from components.text.word_patterns import UnknownPatternError, compile_pattern, match_class

PATTERNS = {
    "gpt2": GPT2_PATTERN,
    "llama3": tokenizer_rules.LLAMA3_PATTERN,
    "qwen2": tokenizer_rules.QWEN2_PATTERN,
    "qwen3_5": tokenizer_rules.QWEN3_5_PATTERN,
    "gpt_oss": tokenizer_rules.GPT_OSS_PATTERN,
    "bloom": tokenizer_rules.BLOOM_PATTERN,
    "three digits": "[0-9][0-9][0-9]",
    "ranges and escapes": r"[a-f\]\-]+|\d+|[^\S\n]+|\P{L}",
}
# Spaces of all kinds, contractions in both cases and with the long s, digits, letters and marks of several scripts.
PARTS = [
    "  ", " ", "\n", "\r\n", "\t", "a", "B", "\u00e9", "1", "12345", "'s", "'LL", "'\u017f", "'\u212a", ".", "!\n", "\u6771",
    "\u00a0", "\u2028", "\u0085", "\x1c", "\u180e", "\u200b", "e\u0301", "/", "(", "|", "\u2026", "\ufdd0", ";", ",", "\x00",
    "\U0001f642", "\u0661", "\u00bd", "\u01c5", "\u02b0", "\U00010400",
]  # fmt: skip


def make_texts(count, seed=0):
    generator = random.Random(seed)
    return [
        "".join(
            generator.choice(PARTS)
            if generator.random() < 0.9
            else chr(generator.choice([generator.randrange(1, 0xD800), generator.randrange(0xE000, 0x110000)]))
            for _ in range(generator.randint(0, 14))
        )
        for _ in range(count)
    ]


@pytest.mark.parametrize("name", PATTERNS)
def test_words_are_those_of_the_library(name):
    compiled = compile_pattern(PATTERNS[name])
    reference = pre_tokenizers.Split(Regex(PATTERNS[name]), "isolated")
    for text in make_texts(1500):
        assert compiled.split(text) == [piece for piece, _ in reference.pre_tokenize_str(text)]


@pytest.mark.parametrize("name", ["Digits", "Punctuation"])
def test_classes_of_characters_are_those_of_the_library(name):
    kind = {
        "Digits": pre_tokenizers.Digits(individual_digits=True),
        "Punctuation": pre_tokenizers.Punctuation("isolated"),
    }
    pattern = match_class(name, repeated=False)
    for text in make_texts(500):
        assert pattern.split(text) == [piece for piece, _ in kind[name].pre_tokenize_str(text)]


def test_the_committed_classes_are_those_that_the_library_has():
    path = Path(__file__).with_name("write_character_classes.py")
    spec = importlib.util.spec_from_file_location("write_character_classes", path)
    writer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(writer)
    assert json.loads(writer.TARGET.read_text(encoding="utf-8"))["classes"] == writer.make_classes()


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        (r"(?<=a)b|.", r"\(\?<=a"),
        (r"\p{L}++|\s+", r"\+\+"),
        (r"\p{L}+|\s+(?!\S)", "without"),
        (r"\s+(?!\S)x|\s+", r"\(\?!"),
        (r"\p{Han}+", "the class `Han`"),
        (r"\s+$|x", r"\$"),
        (r"[a-z&&[^b]]+", "intersection"),
        (r"\X", r"\\X"),
        # The library takes `a` of a run of spaces with the word behind it: the marks would be wrong.
        (r"\s\s\p{L}+|\s+(?!\S)|\s+", "would be cut into"),
    ],
)
def test_what_cannot_be_carried_over_is_refused(pattern, said):
    with pytest.raises(UnknownPatternError, match=said):
        compile_pattern(pattern)
