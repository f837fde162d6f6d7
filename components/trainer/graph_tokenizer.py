"""Tokenization inside a TensorFlow graph that gives the ids which KerasHub's tokenizer gives in eager Python.

KerasHub has two byte-pair tokenizers under one name. In eager Python, where the training data is tokenized, a text is one
piece for the merges; inside a graph it is first split into words by a pattern. They differ where a merge crosses a word
boundary, and the one for graphs also keeps every word that it ever saw in a table that a server would grow without bound.
The one here follows eager Python, exactly, and has no state.
"""

import re
from typing import Any, Protocol

import keras_hub
import numpy as np
import tensorflow as tf
import tensorflow_text as tf_text
from keras_hub.tokenizers import BytePairTokenizer

_NO_MERGE = np.iinfo(np.int64).max


class GraphTokenizer(Protocol):
    """What the signatures need of a tokenizer."""

    def encode(self, text: tf.Tensor) -> tf.RaggedTensor:
        """Returns token ids, int32 (batch, ragged), of texts, string (batch,)."""

    def decode(self, token_ids: tf.RaggedTensor) -> tf.Tensor:
        """Returns texts, string (batch,), of token ids, int32 (batch, ragged)."""


def make_graph_tokenizer(tokenizer: keras_hub.tokenizers.Tokenizer) -> "GraphTokenizer":
    """Returns the in-graph counterpart of `tokenizer`; all that it needs is tracked, so that it can be saved."""
    if not isinstance(tokenizer, BytePairTokenizer):
        return LayerTokenizer(tokenizer)
    plain = type(tokenizer)._tokenize_tokenizers is BytePairTokenizer._tokenize_tokenizers
    if not plain or tokenizer.add_prefix_space or not set(byte_symbols()) <= set(tokenizer.vocabulary):
        return LayerTokenizer(tokenizer)
    return GraphBytePairTokenizer(tokenizer)


class LayerTokenizer(tf.Module):
    """A KerasHub tokenizer whose graph and eager ids are the same (SentencePiece, WordPiece)."""

    def __init__(self, tokenizer: keras_hub.tokenizers.Tokenizer):
        super().__init__()
        self._tokenizer = tokenizer

    def encode(self, text: tf.Tensor) -> tf.RaggedTensor:
        """Returns token ids, int32 (batch, ragged), of texts, string (batch,)."""
        return tf.cast(self._tokenizer(text), tf.int32)

    def decode(self, token_ids: tf.RaggedTensor) -> tf.Tensor:
        """Returns texts, string (batch,), of token ids, int32 (batch, ragged)."""
        return self._tokenizer.detokenize(token_ids)


class GraphBytePairTokenizer(tf.Module):
    """Byte-level BPE over flat tensors: one merge in every word at a time, the lowest rank first, the leftmost of equals.

    A *word* is a stretch of text that no merge can leave: the text is cut between two bytes that stand side by side in no
    token of the vocabulary. So the words are independent of each other, and the result is that of the whole text at once.
    """

    def __init__(self, tokenizer: BytePairTokenizer):
        """Builds the tables.

        Args:
            tokenizer: A byte-level one: each of the 256 byte symbols is a token.
        """
        super().__init__()
        vocabulary: dict[str, int] = tokenizer.vocabulary
        to_byte = {symbol: byte for byte, symbol in enumerate(byte_symbols())}
        self._byte_ids = tf.constant([vocabulary[symbol] for symbol in byte_symbols()], tf.int64)  # (256,)
        merges = [merge.split(" ") for merge in tokenizer.merges if not merge.startswith("#version")]
        keys = [vocabulary[a] << 32 | vocabulary[b] for a, b in merges]
        values = [rank << 32 | vocabulary[a + b] for rank, (a, b) in enumerate(merges)]
        self._merges = _make_table(keys or [-2], values or [_NO_MERGE], tf.int64, _NO_MERGE)
        spans = np.zeros((256, 256), bool)
        for a, b in merges:
            sequence = [to_byte[symbol] for symbol in a + b]
            spans[sequence[:-1], sequence[1:]] = True
        self._spans = tf.constant(spans.reshape(-1))  # (256 * 256,), index: left byte * 256 + right byte
        special = sorted(tokenizer.unsplittable_tokens or [], key=len, reverse=True)
        self._special_pattern = "|".join(re.escape(token) for token in special)
        self._special_ids = _make_table(special or [""], [vocabulary[s] for s in special] or [-1], tf.int64, -1)
        texts = [b""] * (max(vocabulary.values()) + 1)
        for token, token_id in vocabulary.items():
            known = token not in special and all(symbol in to_byte for symbol in token)
            texts[token_id] = bytes(to_byte[symbol] for symbol in token) if known else token.encode()
        self._texts = tf.constant(texts)  # (vocabulary size,)

    def encode(self, text: tf.Tensor) -> tf.RaggedTensor:
        """Returns token ids, int32 (batch, ragged), of UTF-8 texts, string (batch,).

        As in eager Python, the characters of a special token become its id wherever they stand. Unlike there, a text ends at
        a NUL character (tensorflow_text); cleaned text has none.
        """
        with tf.device("cpu"):
            pieces, rows = self._split_special(text)  # (pieces,) each
            special = self._special_ids.lookup(pieces)
            # A special token is one symbol: a byte stands for it until it has its id.
            pieces = tf.where(special >= 0, "#", pieces)
            piece = tf.repeat(tf.range(tf.size(pieces)), tf.strings.length(pieces))  # (bytes,)
            symbols = tf.cast(tf.io.decode_raw(tf.strings.reduce_join(pieces), tf.uint8), tf.int32)
            special = tf.gather(special, piece)
            ids = tf.where(special >= 0, special, tf.gather(self._byte_ids, symbols))
            joined = tf.gather(self._spans, symbols[:-1] * 256 + symbols[1:]) & (piece[:-1] == piece[1:])
            cuts = tf.cumsum(tf.cast(~joined, tf.int32))
            words = tf.concat([tf.zeros([1], tf.int32), cuts], 0)[: tf.size(ids)]  # (bytes,)
            word_rows = tf.math.segment_min(tf.gather(rows, piece), words)
            ids, words = self._merge(ids, words)
            rows = tf.gather(word_rows, words)
            return tf.RaggedTensor.from_value_rowids(
                tf.cast(ids, tf.int32), rows, nrows=tf.size(text, tf.int64), validate=False
            )

    def decode(self, token_ids: tf.RaggedTensor) -> tf.Tensor:
        """Returns texts, string (batch,), of token ids, int32 (batch, ragged). Cut characters stay cut."""
        with tf.device("cpu"):
            return tf.strings.reduce_join(tf.ragged.map_flat_values(lambda i: tf.gather(self._texts, i), token_ids), -1)

    def _split_special(self, text: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        if not self._special_pattern:
            return text, tf.range(tf.size(text, tf.int64))
        pieces = tf_text.regex_split(text, self._special_pattern, self._special_pattern)
        return pieces.flat_values, pieces.value_rowids()

    def _merge(self, ids: tf.Tensor, words: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        # ids: (tokens,) int64; words: (tokens,) int32, ascending, the word of each token.
        def step(ids: tf.Tensor, words: tf.Tensor, _: tf.Tensor) -> tuple[tf.Tensor, ...]:
            left, right, word = ids[:-1], ids[1:], words[:-1]
            pairs = tf.where(word == words[1:], tf.bitwise.left_shift(left, 32) | right, -1)
            merged = self._merges.lookup(pairs)  # rank and new id; the smallest is the lowest rank
            lowest = tf.gather(tf.math.segment_min(merged, word), word)
            place = tf.range(tf.size(merged))
            found = (merged == lowest) & (merged != _NO_MERGE)
            first = tf.math.segment_min(tf.where(found, place, tf.size(merged)), word)
            take = place == tf.gather(first, word)
            new = tf.where(take, merged & 0xFFFFFFFF, left)
            keep = tf.concat([tf.ones([1], bool), ~take], 0)[: tf.size(ids)]
            ids = tf.concat([new, ids[-1:]], 0)[: tf.size(ids)]
            return tf.boolean_mask(ids, keep), tf.boolean_mask(words, keep), tf.reduce_any(take)

        one = tf.TensorShape([None])
        ids, words, _ = tf.while_loop(
            lambda ids, words, more: more,
            step,
            (ids, words, tf.constant(True)),
            shape_invariants=(one, one, tf.TensorShape([])),
            parallel_iterations=1,
        )
        return ids, words


def byte_symbols() -> list[str]:
    """Returns the 256 characters that stand for the bytes in a byte-level vocabulary, as GPT-2 chose them."""
    visible = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    symbols = {byte: chr(byte) for byte in visible}
    rest = (byte for byte in range(256) if byte not in symbols)
    symbols |= {byte: chr(256 + n) for n, byte in enumerate(rest)}
    return [symbols[byte] for byte in range(256)]


def _make_table(keys: Any, values: Any, dtype: tf.DType, default: int) -> tf.lookup.StaticHashTable:
    initializer = tf.lookup.KeyValueTensorInitializer(tf.constant(keys), tf.constant(values, dtype))
    return tf.lookup.StaticHashTable(initializer, default)
