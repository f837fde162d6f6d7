"""A SentencePiece model made of a `tokenizer.json`, for folders that have no `tokenizer.model`.

The model is a message of protocol buffers. SentencePiece's own module for it wants a newer protobuf than TensorFlow has, so that
KerasHub's builder cannot be imported; the few fields are written by hand here.
"""

import re
import struct
from collections.abc import Mapping
from typing import Any

# Tokens that text can never become, in the models that Google and Mistral publish, by what they are.
_CONTROL = {"<pad>": "pad", "<bos>": "bos", "<s>": "bos", "<eos>": "eos", "</s>": "eos"}
_NORMAL, _UNKNOWN, _CONTROL_TYPE, _USER_DEFINED, _BYTE = 1, 2, 3, 4, 6
_BPE = 2
# Fields of the message for the trainer: where names of special pieces stand.
_NAMES = {"bos": 46, "eos": 47, "pad": 48}
_BYTE_PIECE = re.compile(r"<0x[0-9A-F]{2}>")


def make_sentence_piece(rules: Mapping[str, Any]) -> bytes:
    """Returns a serialized SentencePiece model with the pieces and merges of a `tokenizer.json`.

    Args:
        rules: The file: byte-pair merges with bytes to fall back to.

    Raises:
        ValueError: It is of another kind.
    """
    model = rules["model"]
    if model.get("type") != "BPE" or not model.get("byte_fallback"):
        raise ValueError(
            "tokenizer.json must have byte-pair merges with `byte_fallback`, as SentencePiece has. Take the model's tokenizer.model"
        )
    added = {token["content"]: token["id"] for token in rules.get("added_tokens") or []}
    pieces = sorted((model["vocab"] | added).items(), key=lambda item: item[1])
    # Of two pairs, SentencePiece merges the one whose result has the higher score, and takes the first of the merges first.
    ranks: dict[str, int] = {}
    for rank, merge in enumerate(model["merges"]):
        ranks.setdefault("".join(merge.split(" ", 1) if isinstance(merge, str) else merge), rank)
    has_tab_byte = "<0x09>" in model["vocab"]
    parts = []
    for text, _ in pieces:
        # transformers gives Gemma's piece for this byte another name; SentencePiece insists on all 256.
        name = "<0x09>" if text == "\t" and not has_tab_byte else text
        kind = _get_type(name, text in added)
        score = -float(ranks.get(text, len(ranks) + 1)) if kind == _NORMAL else 0.0
        parts.append(_field(1, _field(1, name.encode()) + b"\x15" + struct.pack("<f", score) + _number(3, kind)))
    trainer = _number(3, _BPE) + _number(4, len(pieces)) + _number(35, 1)
    for text, what in _CONTROL.items():
        if text in added or text in model["vocab"]:
            trainer += _field(_NAMES[what], text.encode())
    normalizer = _field(1, b"identity") + _number(3, has_dummy_prefix(rules)) + _number(4, 0) + _number(5, 1)
    return b"".join([*parts, _field(2, trainer), _field(3, normalizer)])


def has_dummy_prefix(rules: Mapping[str, Any]) -> bool:
    """Returns whether a `tokenizer.json` puts a space before a text."""
    normalizer, splitter = rules.get("normalizer") or {}, rules.get("pre_tokenizer") or {}
    steps = [*normalizer.get("normalizers", [normalizer]), *splitter.get("pretokenizers", [splitter])]
    return any(
        step.get("type") == "Prepend" or (step.get("type") == "Metaspace" and step.get("prepend_scheme") != "never")
        for step in steps
    )


def _get_type(piece: str, is_added: bool) -> int:
    if piece == "<unk>":
        return _UNKNOWN
    if piece in _CONTROL:
        return _CONTROL_TYPE
    if _BYTE_PIECE.fullmatch(piece):
        return _BYTE
    return _USER_DEFINED if is_added else _NORMAL


def _field(number: int, content: bytes) -> bytes:
    """A field of text, bytes or a message."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _number(number: int, value: int) -> bytes:
    """A field of a whole number or a truth value."""
    return _varint(number << 3) + _varint(value)


def _varint(value: int) -> bytes:
    result = b""
    while value > 0x7F:
        result += bytes([value & 0x7F | 0x80])
        value >>= 7
    return result + bytes([value])
