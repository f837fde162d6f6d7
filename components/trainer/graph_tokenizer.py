"""Tokenization inside a TensorFlow graph that gives the ids which the model's own tokenizer gives in eager Python.

KerasHub's byte-pair tokenizers have one pattern for all models inside a graph and keep every word that they ever saw in a table,
which a server would let grow without bound. Those here follow the rules of the tokenizer's `tokenizer.json` and have no state.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import keras_hub
import tensorflow as tf
import tensorflow_text as tf_text

from components.text.graph_rules import AddedToken, Compose, Prepend, Replace, ToBytes, read_graph_rules
from components.text.model_tokenizer import get_backend
from components.text.token_texts import byte_symbols
from components.trainer.graph_merges import Merges, make_table
from components.trainer.graph_words import Symbols, cut_words, encode_utf8, list_characters

# No byte of UTF-8: it stands between the pieces of a text.
_BETWEEN = b"\xff"
# Unicode's white space, which RE2 does not know whole.
_SPACE = r"\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}"


class GraphTokenizer(Protocol):
    """What the signatures need of a tokenizer."""

    def encode(self, text: tf.Tensor) -> tf.RaggedTensor:
        """Returns token ids, int32 (batch, ragged), of texts, string (batch,)."""

    def decode(self, token_ids: tf.RaggedTensor, *, whole: bool = True) -> tf.Tensor:
        """Returns texts, string (batch,), of token ids, int32 (batch, ragged); `whole`: nothing stands before them."""

    @property
    def puts_blank(self) -> bool:
        """Whether a whole text has a blank before it in tokens."""


def make_graph_tokenizer(tokenizer: keras_hub.tokenizers.Tokenizer) -> "GraphTokenizer":
    """Returns the in-graph counterpart of `tokenizer`; all that it needs is tracked, so that it can be saved.

    Raises:
        UserError: If the tokenizer follows a rule that is not known here.
    """
    backend = get_backend(tokenizer)
    if backend is None:
        return LayerTokenizer(tokenizer)
    return GraphBytePairTokenizer(backend)


class LayerTokenizer(tf.Module):
    """A KerasHub tokenizer whose graph and eager ids are the same (SentencePiece not by merges, WordPiece)."""

    def __init__(self, tokenizer: keras_hub.tokenizers.Tokenizer):
        super().__init__()
        self._tokenizer = tokenizer

    def encode(self, text: tf.Tensor) -> tf.RaggedTensor:
        """Returns token ids, int32 (batch, ragged), of texts, string (batch,)."""
        return tf.cast(self._tokenizer(text), tf.int32)

    def decode(self, token_ids: tf.RaggedTensor, *, whole: bool = True) -> tf.Tensor:
        """Returns texts, string (batch,), of token ids, int32 (batch, ragged)."""
        del whole
        return self._tokenizer.detokenize(token_ids)

    @property
    def puts_blank(self) -> bool:
        """See `GraphBytePairTokenizer`."""
        return False


class GraphBytePairTokenizer(tf.Module):
    """Byte-pair encoding over flat tensors, by the rules of a `tokenizer.json`."""

    def __init__(self, backend: Any):
        """Builds the tables.

        Args:
            backend: A `tokenizers.Tokenizer`.

        Raises:
            UserError: If there is a rule that is not known here.
        """
        super().__init__()
        rules = json.loads(backend.to_str())
        self._rules = known = read_graph_rules(rules)
        model, vocabulary = rules["model"], rules["model"]["vocab"]
        added = known.added_tokens
        normalize = backend.normalizer.normalize_str if backend.normalizer else str
        self._raw_tokens = _AddedTokens([token for token in added if not token.normalized])
        self._normalized_tokens = _AddedTokens([token for token in added if token.normalized], normalize)
        names = byte_symbols() if known.byte_level else [f"<0x{byte:02X}>" for byte in range(256)]
        known_bytes = known.byte_level or known.byte_fallback
        self._byte_ids = tf.constant([vocabulary.get(name, -1) if known_bytes else -1 for name in names], tf.int64)
        if not known.byte_level:
            single = {ord(token): token_id for token, token_id in vocabulary.items() if len(token) == 1}
            self._character_ids = make_table(list(single), list(single.values()), tf.int64, -1)
        self._knows_all = known.byte_level and all(name in vocabulary for name in names)
        self._merges = Merges(model, byte_level=known.byte_level)
        self._whole_words = None
        if known.ignore_merges or (known.byte_level and isinstance(known.splits[-1], ToBytes)):
            words = _list_whole_words(vocabulary, backend.model, known.byte_level)
            self._whole_words = make_table(list(words) or [""], list(words.values()) or [-1], tf.int64, -1)
        largest = max(backend.get_vocab(with_added_tokens=True).values())
        tokens = [backend.id_to_token(token_id) or "" for token_id in range(largest + 1)]
        # Models round their vocabularies up, and may say a token that no tokenizer knows: the last one, which is no text.
        pairs = [*(_decode_token(token, known.byte_level) for token in tokens), _decode_token("", known.byte_level)]
        self._unknown_id = largest + 1
        self._texts = tf.constant([text for text, _ in pairs])  # (largest id + 2,)
        # (largest id + 2,): whether it is one of the bytes of SentencePiece.
        self._is_byte = tf.constant([is_byte for _, is_byte in pairs])

    @tf.autograph.experimental.do_not_convert
    def encode(self, text: tf.Tensor) -> tf.RaggedTensor:
        """Returns token ids, int32 (batch, ragged), of UTF-8 texts, string (batch,).

        As in eager Python, the characters of a special token become its id wherever they stand.
        """
        with tf.device("cpu"):
            size = tf.size(text, tf.int64)
            pieces = _Pieces(text, tf.range(size), tf.fill([size], tf.constant(-1, tf.int64)), tf.fill([size], True))
            pieces = self._raw_tokens.split(pieces)
            pieces = pieces.replace_text(self._normalize(pieces, ahead=True))
            pieces = self._normalized_tokens.split(pieces)
            pieces = pieces.replace_text(self._normalize(pieces, ahead=False))
            # A special token is one symbol: a character stands for it until it has its id.
            texts = tf.where(pieces.special >= 0, "#", pieces.text)
            characters = list_characters(texts)
            symbols, character_words = cut_words(texts, characters, self._rules.splits)
            ids, symbols = self._find_ids(symbols, pieces)
            ids, symbols = self._take_whole_words(ids, symbols, pieces, characters, character_words)
            ids, places = self._merges(ids, self._merges.cut(symbols.values, symbols.words))
            rows = tf.gather(pieces.rows, tf.gather(symbols.pieces, places))
            return tf.RaggedTensor.from_value_rowids(tf.cast(ids, tf.int32), rows, nrows=size, validate=False)

    @tf.autograph.experimental.do_not_convert
    def decode(self, token_ids: tf.RaggedTensor, *, whole: bool = True) -> tf.Tensor:
        """Returns texts, string (batch,), of token ids, int32 (batch, ragged). Cut characters stay cut at byte level.

        Args:
            token_ids: Of the texts.
            whole: Whether nothing stands before them. Some tokenizers put a blank before a text, which is then taken away.
        """
        with tf.device("cpu"):
            unknown = tf.constant(self._unknown_id, token_ids.dtype)
            token_ids = tf.ragged.map_flat_values(tf.minimum, token_ids, unknown)
            if self._rules.byte_level:
                texts = tf.ragged.map_flat_values(lambda ids: tf.gather(self._texts, ids), token_ids)
                return tf.strings.reduce_join(texts, -1)
            texts = token_ids.with_flat_values(self._decode_bytes(token_ids.flat_values, token_ids.value_rowids()))
            text = tf.strings.reduce_join(texts, -1)
            strips = whole and self._rules.strip
            return tf.strings.regex_replace(text, f"^ {{0,{self._rules.strip}}}", "") if strips else text

    @property
    def puts_blank(self) -> bool:
        """Whether a text has a blank before it in tokens, see `decode`."""
        return not self._rules.byte_level and bool(self._rules.strip)

    def _normalize(self, pieces: "_Pieces", *, ahead: bool) -> tf.Tensor:
        """Returns the texts as they are cut; `ahead` of the normalized tokens by the normalizer, then by the pre-tokenizer."""
        text = pieces.text
        steps = self._rules.normalizers if ahead else self._rules.preparations
        for step in steps:
            if isinstance(step, Compose):
                text = tf_text.normalize_utf8(text, "NFC")
            elif isinstance(step, Replace):
                text = tf.strings.regex_replace(text, re.escape(step.old), step.new.replace("\\", "\\\\"))
            else:
                text = tf.where(_takes_prefix(text, pieces, step), tf.strings.join([step.text, text]), text)
        return text

    def _find_ids(self, symbols: Symbols, pieces: "_Pieces") -> tuple[tf.Tensor, Symbols]:
        """Returns the ids of single symbols, int64; what has none is replaced by bytes, the unknown token, or nothing."""
        values, words, piece = symbols.values, symbols.words, symbols.pieces
        if self._rules.byte_level:
            ids = tf.gather(self._byte_ids, values)
        else:
            ids = self._character_ids.lookup(tf.cast(values, tf.int64))
        special = tf.gather(pieces.special, piece)
        ids = tf.where(special >= 0, special, ids)
        if self._rules.byte_fallback and not self._rules.byte_level:
            bytes_, is_there = encode_utf8(values)
            byte_ids = tf.gather(self._byte_ids, bytes_)  # (symbols, 4)
            falls_back = (ids < 0) & tf.reduce_all(~is_there | (byte_ids >= 0), axis=1)
            takes = tf.where(falls_back[:, None], is_there, tf.constant([[True, False, False, False]]))
            place = tf.repeat(tf.range(tf.size(values)), tf.reduce_sum(tf.cast(takes, tf.int32), axis=1))
            ids = tf.boolean_mask(tf.where(falls_back[:, None], byte_ids, ids[:, None]), takes)
            # No merge takes a byte that stands for a part of a character.
            values = tf.gather(tf.where(falls_back, -1, values), place)
            words, piece = tf.gather(words, place), tf.gather(piece, place)
        if self._knows_all:
            return ids, symbols
        is_known = ids >= 0
        if self._rules.unknown_id is not None:
            goes_on = tf.zeros_like(is_known)
            if self._rules.fuse_unknown:
                same = ~is_known[1:] & ~is_known[:-1] & (words[1:] == words[:-1])
                goes_on = tf.concat([tf.zeros([1], tf.bool), same], 0)[: tf.size(ids)]
            values = tf.where(is_known, values, -1)
            ids = tf.where(is_known, ids, self._rules.unknown_id)
            is_known = ~goes_on
        return _select(tf.where(is_known)[:, 0], ids, Symbols(values=values, words=words, pieces=piece))

    def _take_whole_words(
        self, ids: tf.Tensor, symbols: Symbols, pieces: "_Pieces", characters: Symbols, character_words: tf.Tensor
    ) -> tuple[tf.Tensor, Symbols]:
        """Returns the ids of single symbols and, where a word becomes one token, of the word."""
        if self._whole_words is None:
            return ids, symbols
        texts = tf.RaggedTensor.from_value_rowids(characters.values, character_words, validate=False)
        found = self._whole_words.lookup(tf.strings.unicode_encode(texts, "UTF-8"))  # (words,)
        # What stands for a special token has its id.
        found = tf.where(
            tf.gather(pieces.special, symbols.pieces) >= 0, tf.constant(-1, tf.int64), tf.gather(found, symbols.words)
        )
        is_first = tf.concat([[True], symbols.words[1:] != symbols.words[:-1]], 0)[: tf.size(ids)]
        keep = (found < 0) | is_first
        ids = tf.where(found >= 0, found, ids)
        values = tf.where(found >= 0, -1, symbols.values)
        return _select(tf.where(keep)[:, 0], ids, Symbols(values=values, words=symbols.words, pieces=symbols.pieces))

    def _decode_bytes(self, ids: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
        """Returns the text of each token; bytes in a row that are no UTF-8 as a whole become U+FFFD, one for each."""
        texts, is_byte = tf.gather(self._texts, ids), tf.gather(self._is_byte, ids)
        goes_on = is_byte[1:] & is_byte[:-1] & (rows[1:] == rows[:-1])
        steps = tf.concat([tf.zeros([1], tf.int32), tf.cast(~goes_on, tf.int32)], 0)[: tf.size(ids)]
        runs = tf.cumsum(steps)
        joined = tf.strings.reduce_join(tf.RaggedTensor.from_value_rowids(texts, runs, validate=False), -1)
        is_valid = tf.strings.unicode_transcode(joined, "UTF-8", "UTF-8", errors="replace") == joined
        return tf.where(is_byte & ~tf.gather(is_valid, runs), "\ufffd", texts)


class _Pieces:
    """Texts cut at special tokens."""

    def __init__(self, text: tf.Tensor, rows: tf.Tensor, special: tf.Tensor, is_first: tf.Tensor):
        """Sets the tensors.

        Args:
            text: string (pieces,).
            rows: int64 (pieces,), the row of the batch.
            special: int64 (pieces,), the id of a special token, -1 for other text.
            is_first: bool (pieces,), whether the row begins with it.
        """
        self.text, self.rows, self.special, self.is_first = text, rows, special, is_first

    def replace_text(self, text: tf.Tensor) -> "_Pieces":
        """Returns the pieces with other text, but for special tokens."""
        return _Pieces(tf.where(self.special >= 0, self.text, text), self.rows, self.special, self.is_first)


class _AddedTokens(tf.Module):
    """Tokens that are looked for in a text: the leftmost first, the longest of several at one place."""

    def __init__(self, tokens: Sequence[AddedToken], normalize: Callable[[str], str] = str):
        super().__init__()
        ids = {normalize(token.content): token.token_id for token in tokens}
        self._ids = make_table(list(ids) or [""], list(ids.values()) or [-1], tf.int64, -1)
        longest_first = sorted(tokens, key=lambda token: -len(token.content))
        self._pattern = "|".join(
            f"{_spaces(token.takes_left)}{re.escape(normalize(token.content))}{_spaces(token.takes_right)}"
            for token in longest_first
        )
        self._strips = any(token.takes_left or token.takes_right for token in tokens)

    def split(self, pieces: _Pieces) -> _Pieces:
        """Returns the pieces with these tokens taken out of them."""
        if not self._pattern:
            return pieces
        marked = tf.strings.regex_replace(pieces.text, self._pattern, _BETWEEN + rb"\0" + _BETWEEN)
        parts = tf.strings.split(tf.where(pieces.special >= 0, pieces.text, marked), _BETWEEN)
        text, of = parts.flat_values, parts.value_rowids()
        there = text != ""
        text, of = tf.boolean_mask(text, there), tf.boolean_mask(of, there)
        begins = tf.concat([[True], of[1:] != of[:-1]], 0)[: tf.size(of)]
        name = tf.strings.regex_replace(text, f"^[{_SPACE}]+|[{_SPACE}]+$", "") if self._strips else text
        before = tf.gather(pieces.special, of)
        special = tf.where(before >= 0, before, self._ids.lookup(name))
        return _Pieces(text, tf.gather(pieces.rows, of), special, begins & tf.gather(pieces.is_first, of))


def _takes_prefix(text: tf.Tensor, pieces: _Pieces, step: Prepend) -> tf.Tensor:
    takes = text != ""
    if step.only_first:
        takes &= pieces.is_first
    if step.unless_there:
        takes &= ~tf.strings.regex_full_match(text, f"(?s){re.escape(step.text)}.*")
    return takes


def _select(at: tf.Tensor, ids: tf.Tensor, symbols: Symbols) -> tuple[tf.Tensor, Symbols]:
    """Returns the ids and symbols at some places."""
    values, words, pieces = (tf.gather(tensor, at) for tensor in (symbols.values, symbols.words, symbols.pieces))
    return tf.gather(ids, at), Symbols(values=values, words=words, pieces=pieces)


def _spaces(taken: bool) -> str:
    return f"[{_SPACE}]*" if taken else ""


def _list_whole_words(vocabulary: Mapping[str, int], model: Any, byte_level: bool) -> dict[str, int]:
    """Returns the tokens that a word of just their characters becomes: their text and id.

    Most words of a text are such, and need no merges.
    """
    found = {}
    for token, token_id in vocabulary.items():
        if len(token) > 1 and [part.id for part in model.tokenize(token)] == [token_id]:
            text, _ = _decode_token(token, byte_level) if byte_level else (token.encode(), False)
            # Those that are a part of a character are no word.
            if text.decode("utf-8", "replace").encode() == text:
                found[text.decode()] = token_id
    return found


_TO_BYTE = {symbol: byte for byte, symbol in enumerate(byte_symbols())}


def _decode_token(token: str, byte_level: bool) -> tuple[bytes, bool]:
    """Returns the text of a token, and whether it is one of the bytes of SentencePiece."""
    if byte_level:
        # As the library does: a token with a character that stands for no byte is written as it is.
        is_bytes = all(symbol in _TO_BYTE for symbol in token)
        return bytes(_TO_BYTE[symbol] for symbol in token) if is_bytes else token.encode(), False
    if match := re.fullmatch(r"<0x([0-9A-F]{2})>", token):
        return bytes([int(match[1], 16)]), True
    return token.replace("\u2581", " ").encode(), False
