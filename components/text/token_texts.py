"""Single tokens as text that a person can read."""

import codecs
import re
from collections.abc import Sequence
from typing import Any

_BYTE_TOKEN = re.compile(r"<0x([0-9A-F]{2})>")


class TokenTexts:
    """Turns token ids into the pieces of text that they stand for."""

    def __init__(self, tokenizer: Any):
        """Takes a KerasHub tokenizer."""
        import keras_hub

        self._tokenizer = tokenizer
        self._is_byte_level = isinstance(tokenizer, keras_hub.tokenizers.BytePairTokenizer)

    def __call__(self, token_ids: Sequence[int]) -> list[str]:
        """Returns a text for each token; joined they are the text of the whole.

        A character that several tokens make up stands at the last of these; the others have an empty text.
        """
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        return [decoder.decode(self._to_bytes(int(token_id))) for token_id in token_ids]

    def one(self, token_id: int) -> str:
        """Returns the text of a token by itself; a part of a character is U+FFFD."""
        return self._to_bytes(int(token_id)).decode("utf-8", "replace")

    def _to_bytes(self, token_id: int) -> bytes:
        token = self._tokenizer.id_to_token(token_id)
        if self._is_byte_level:
            # Byte-level tokens are written with one printable character a byte; others (special tokens) as they are.
            return bytes(_BYTES[c] for c in token) if all(c in _BYTES for c in token) else token.encode()
        if match := _BYTE_TOKEN.fullmatch(token):
            return bytes([int(match[1], 16)])
        return token.replace("\u2581", " ").encode()  # the space of SentencePiece


def byte_symbols() -> list[str]:
    """Returns the 256 characters that stand for the bytes in a byte-level vocabulary, as GPT-2 chose them.

    Printable bytes of Latin-1 stand for themselves, the others, in order, for the characters from U+0100 on.
    """
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    symbols = {b: chr(b) for b in printable} | {b: chr(256 + i) for i, b in enumerate(others)}
    return [symbols[byte] for byte in range(256)]


_BYTES = {symbol: byte for byte, symbol in enumerate(byte_symbols())}
