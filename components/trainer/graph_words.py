"""Cutting texts into words inside a TensorFlow graph, by the patterns of `components.text.word_patterns`."""

from collections.abc import Sequence
from dataclasses import dataclass

import tensorflow as tf

from components.text.graph_rules import Split, ToBytes
from components.text.token_texts import byte_symbols
from components.text.word_patterns import MARK, WordPattern
from components.trainer.graph_merges import number


@dataclass(frozen=True, kw_only=True)
class Symbols:
    """The smallest parts of texts, one after the other; each tensor has one entry for each part.

    Attributes:
        values: int32 (symbols,), code points of characters, or bytes.
        words: int32 (symbols,), the word of each, from 0 on without a gap.
        pieces: int64 (symbols,), the piece of text that it is in.
    """

    values: tf.Tensor
    words: tf.Tensor
    pieces: tf.Tensor


def list_characters(pieces: tf.Tensor) -> Symbols:
    """Returns the characters of UTF-8 texts, string (pieces,); each text is one word."""
    points = tf.strings.unicode_decode(pieces, "UTF-8")
    rows = points.value_rowids()
    return Symbols(values=points.flat_values, words=number(rows), pieces=rows)


def cut_words(pieces: tf.Tensor, characters: Symbols, steps: Sequence[Split | ToBytes]) -> tuple[Symbols, tf.Tensor]:
    """Returns the symbols that the steps leave, in their words, and each character's word (those at the last `ToBytes`).

    Args:
        pieces: string (pieces,), the texts.
        characters: Their characters.
        steps: How they are cut.
    """
    symbols, character_words, values = characters, None, characters.values
    for step in steps:
        if isinstance(step, ToBytes):
            character_words = symbols.words
            length = 1 + tf.add_n([tf.cast(values >= least, tf.int32) for least in (0x80, 0x800, 0x10000)])
            symbols = Symbols(
                values=tf.cast(tf.io.decode_raw(tf.strings.reduce_join(pieces), tf.uint8), tf.int32),
                words=tf.repeat(symbols.words, length),
                pieces=tf.repeat(symbols.pieces, length),
            )
            values = tf.gather(tf.constant([ord(symbol) for symbol in byte_symbols()], tf.int32), symbols.values)
        else:
            words = _cut(step, values, symbols.words)
            symbols = Symbols(values=symbols.values, words=words, pieces=symbols.pieces)
    return symbols, symbols.words if character_words is None else character_words


def _cut(step: Split, values: tf.Tensor, words: tf.Tensor) -> tf.Tensor:
    """Returns the words, int32 (symbols,), that `words` fall into."""
    letters = tf.RaggedTensor.from_value_rowids(_classify(step.pattern, values), words, validate=False)
    texts = tf.strings.unicode_encode(letters, "UTF-8")
    if step.pattern.cut:
        texts = tf.strings.regex_replace(texts, step.pattern.cut, WordPattern.cut_to)
    texts = tf.strings.regex_replace(texts, step.pattern.match, step.rewrite)
    marked = tf.io.decode_raw(tf.strings.reduce_join(texts, separator=","), tf.uint8)
    is_letter = (marked != ord(",")) & (marked != ord(MARK))
    return number(tf.gather(tf.cumsum(tf.cast(~is_letter, tf.int32)), tf.where(is_letter)[:, 0]))


def _classify(pattern: WordPattern, values: tf.Tensor) -> tf.Tensor:
    """Returns the letter of each character, int32 (symbols,)."""
    block = tf.gather(tf.constant(pattern.block_of), tf.bitwise.right_shift(values, 8))
    letters = tf.gather(tf.constant(pattern.blocks.reshape(-1)), block * 256 + tf.bitwise.bitwise_and(values, 255))
    return tf.cast(letters, tf.int32)


def encode_utf8(points: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the bytes of each character, int32 (characters, 4), and which of the four there are, bool."""
    shift, low = tf.bitwise.right_shift, lambda value: 128 + tf.bitwise.bitwise_and(value, 63)
    first = tf.where(
        points < 0x80,
        points,
        tf.where(
            points < 0x800,
            192 + shift(points, 6),
            tf.where(points < 0x10000, 224 + shift(points, 12), 240 + shift(points, 18)),
        ),
    )
    # From the second byte on: the last six bits stand last.
    bytes_ = tf.stack([first, low(shift(points, 12)), low(shift(points, 6)), low(points)], axis=1)
    is_there = tf.stack([tf.ones_like(points, tf.bool), points >= 0x10000, points >= 0x800, points >= 0x80], axis=1)
    return bytes_, is_there
