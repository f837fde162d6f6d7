"""The string side of the export: what the graph makes of a text equals what eager Python makes of it."""

import gzip
import json
import random
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from components.text.cleaning import LEVELS, clean_text
from components.text.tokenization import neutralize
from components.trainer import graph_text
from components.trainer.chunks import map_chunks

SHARED = Path(__file__).parents[4] / "shared" / "data"
END = "<|endoftext|>"
TEXTS = [
    "",
    " ",
    "\n",
    "plain",
    "  the  then in\tan \r\n\r\n\r\n\n end \n",
    "e\u0301 \u00e9 \ufb01 \uac00 \u1100\u1161",
    "e\u200b\u0301",
    "\ufeffzero\u200bwidth \u200dZWJ \U0001f468\u200d\U0001f469\u200d\U0001f467",
    "a\u00a0b\u2003c\u3000d\u2028e\u2029f\u0085g",
    "nul\x00bell\x07esc\x1b[0m del\x7f c1\x9f",
    "\u202eright to left\u202c \u0627\u0644\u0639\u0631\u0628\u064a\u0629 \u05e9\u05dc\u05d5\u05dd",
    "line \t\nnext\n\n\n\n\nlast\n",
    "12345 1,234.5 don't DON'T (the) {x: [1, 2]}",
    "\\1 \\0 $^ .* [a-z] \\\\",
    f"{END}in the middle {END} twice{END}{END}",
    "<|endoftext| > <|endoftext|",
    "the" * 200,
    " " * 70 + "x" + "\n" * 9,
]


def _texts():
    generator = random.Random(0)
    texts = list(TEXTS)
    for _ in range(200):
        points = [generator.choice([generator.randrange(1, 128), generator.randrange(1, 0xD7FF)]) for _ in range(30)]
        texts.append("".join(map(chr, points)))
    naughty = SHARED / "naughty-strings" / "blns.json"
    return texts + (json.loads(naughty.read_text(encoding="utf-8")) if naughty.exists() else [])


@pytest.mark.parametrize("level", LEVELS)
def test_cleaning_in_graph_equals_python(level):
    texts = _texts()
    cleaned = graph_text.clean_in_graph(tf.constant(texts), level).numpy()
    assert [c.decode() for c in cleaned] == [clean_text(t, level) for t in texts]


@pytest.mark.parametrize("level", LEVELS)
def test_cleaning_in_graph_of_real_texts_equals_python(level):
    texts = _read_real_texts()
    if not texts:
        pytest.skip("needs ../shared/data, which this checkout does not have beside it")
    assert len(texts) >= 10_000
    for start in range(0, len(texts), 1000):
        some = texts[start : start + 1000]
        cleaned = graph_text.clean_in_graph(tf.constant(some), level).numpy()
        assert [c.decode() for c in cleaned] == [clean_text(t, level) for t in some]


def _read_real_texts():
    """Prose, mathematics, code and conversations, each also with blanks, line ends and odd characters put into it."""
    texts = []
    for name in ("dolly-15k/dolly.jsonl.gz", "gsm8k/train.jsonl.gz"):
        path = SHARED / name
        if path.exists():
            with gzip.open(path, "rt", encoding="utf-8") as stream:
                rows = [json.loads(line) for line, _ in zip(stream, range(3000), strict=False)]
            texts += [value for row in rows for value in row.values() if isinstance(value, str)]
    generator = random.Random(1)
    odd = [" ", "\t", "\n", "\r\n", "\x00", "\u00a0", "\u200b", "\ufeff", "\u0301", "\u2028", "  \n", "\n\n\n"]
    return texts + ["".join(part + generator.choice(odd) for part in text.partition(" ")) for text in texts]


@pytest.mark.parametrize("level", LEVELS)
def test_cleaning_in_graph_mends_invalid_utf8(level):
    cleaned = graph_text.clean_in_graph(tf.constant([b"a\xff b", b"\xe2\x82"]), level).numpy()
    assert [c.decode() for c in cleaned] == ["a\ufffd b", "\ufffd"]


def test_stripping_in_graph_equals_python():
    white = [chr(i) for i in range(0x3100) if chr(i).isspace()]
    texts = [*_texts(), *(f"{a}{b}x {a}y{b}{a}" for a in white for b in white[:3]), *white, "\u200bx\ufeff"]
    stripped = graph_text.strip_in_graph(tf.constant(texts)).numpy()
    assert [s.decode() for s in stripped] == [text.strip() for text in texts]


def test_special_tokens_are_neutralized_in_graph_as_in_python():
    special = [END, "\\d|[x]", "", "|"]
    texts = [*_texts(), "a\\d|[x]b|c"]
    neutral = graph_text.neutralize_in_graph(tf.constant(texts), special).numpy()
    assert [n.decode() for n in neutral] == [neutralize(t, special)[0] for t in texts]


def test_prompts_lose_their_beginning_behind_the_start_token():
    prompts = tf.ragged.constant([[9, 1, 2, 3, 4], [9, 1], [9], []], dtype=tf.int32)
    assert graph_text.truncate_prompts(prompts, 3, 1).to_list() == [[9, 3, 4], [9, 1], [9], []]
    assert graph_text.truncate_prompts(prompts, 3, 0).to_list() == [[2, 3, 4], [9, 1], [9], []]
    # As many tokens that stay as there is room for, or more: the end of the prompt must be seen all the same.
    assert graph_text.truncate_prompts(prompts, 3, 3).to_list() == [[9, 1, 4], [9, 1], [9], []]
    assert graph_text.truncate_prompts(prompts, tf.constant(2), 4).to_list() == [[9, 4], [9, 1], [9], []]
    assert graph_text.truncate_prompts(prompts, 1, 4).to_list() == [[4], [1], [9], []]


def test_chunks_cover_each_row_once_and_keep_bounds():
    lengths = tf.constant([5, 40, 7, 40, 0, 22], tf.int32)
    chunks = []

    def double(rows):
        tf.py_function(lambda r: chunks.append(r.numpy().tolist()), [rows], [])
        return (tf.gather(lengths, rows) * 2,)

    run = tf.function(lambda: map_chunks(double, lengths, lambda _: 2, (tf.zeros([6], tf.int32),), spread=16))
    np.testing.assert_array_equal(run()[0], [10, 80, 14, 80, 0, 44])
    assert chunks == [[1, 3], [5, 2], [0, 4]]
