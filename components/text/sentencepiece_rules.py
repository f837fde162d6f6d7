"""The rules of a SentencePiece model in the form of Hugging Face's `tokenizer.json`, as transformers converts them.

SentencePiece's own library takes the characters of `<start_of_turn>` apart where transformers, by which models are trained and
served, makes them one token; and it says nothing about which piece is one of these.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

# Types of pieces.
_UNKNOWN, _CONTROL, _USER_DEFINED = 2, 3, 4
# Of the model types, the one by byte-pair merges.
_BPE = 2
# User-defined pieces that transformers treats as special.
_TURNS = ("<start_of_turn>", "<end_of_turn>")


@dataclass(frozen=True, kw_only=True)
class _Piece:
    text: str
    type: int


def make_sentencepiece_rules(proto: bytes) -> dict[str, Any] | None:
    """Returns the rules of a SentencePiece model by byte-pair merges; None for one of another kind.

    Args:
        proto: The model, as in a file `tokenizer.model` or `vocabulary.spm`.
    """
    pieces, trainer, normalizer = _parse_model(proto)
    identity = not normalizer.get(2)  # a table that changes characters; the known families have none
    if trainer.get(3, 1) != _BPE or not identity or normalizer.get(4, 1):
        return None
    names = [piece.text for piece in pieces]
    if "\t" not in names:
        names = ["\t" if name == "<0x09>" else name for name in names]  # as in transformers
    vocabulary = {name: i for i, name in enumerate(names)}
    prefix = bool(normalizer.get(3, 1))
    replace = {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}
    decoders = [
        {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
        *([{"type": "Strip", "content": " ", "start": 1, "stop": 0}] if prefix else []),
    ]
    metaspace = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "first", "split": False}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": i, "content": piece.text, "special": piece.type != _USER_DEFINED or piece.text in _TURNS}
            | dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
            for i, piece in enumerate(pieces)
            if piece.type in (_UNKNOWN, _CONTROL, _USER_DEFINED)
        ],
        "normalizer": None if prefix else replace,
        "pre_tokenizer": metaspace if prefix else None,
        "post_processor": None,
        "decoder": {"type": "Sequence", "decoders": decoders},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": next((piece.text for piece in pieces if piece.type == _UNKNOWN), None),
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": bool(trainer.get(35, 0)),
            "ignore_merges": False,
            "vocab": vocabulary,
            "merges": _list_merges(vocabulary),
        },
    }


def _list_merges(vocabulary: dict[str, int]) -> list[list[str]]:
    """Returns all pairs of pieces that make a piece, in transformers' order: by its id, then by the length of the left one."""
    merges: list[tuple[int, int, list[str]]] = []
    for piece, piece_id in vocabulary.items():
        for i in range(1, len(piece)):
            left, right = piece[:i], piece[i:]
            if left in vocabulary and right in vocabulary:
                merges.append((piece_id, i, [left, right]))
    return [pair for *_, pair in sorted(merges, key=lambda merge: merge[:2])]


def _parse_model(proto: bytes) -> tuple[list[_Piece], dict[int, Any], dict[int, Any]]:
    """Returns pieces, trainer's settings and normalizer's by field number; see `sentencepiece_model.proto`.

    The package's own reader of this format needs a newer protobuf than TFX admits.
    """
    pieces, trainer, normalizer = [], {}, {}
    for field, value in _list_fields(proto):
        if field == 1:
            piece = dict(_list_fields(value))
            pieces.append(_Piece(text=piece.get(1, b"").decode(), type=piece.get(3, 1)))
        elif field == 2:
            trainer = dict(_list_fields(value))
        elif field == 3:
            normalizer = dict(_list_fields(value))
    return pieces, trainer, normalizer


def _list_fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Yields (number, value) of a protocol buffer's fields: an int for a varint, else bytes."""
    place = 0

    def read_varint() -> int:
        nonlocal place
        value = shift = 0
        while True:
            byte = message[place]
            place += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while place < len(message):
        key = read_varint()
        kind = key & 7
        if kind == 0:
            yield key >> 3, read_varint()
            continue
        size = {1: 8, 5: 4}.get(kind) or read_varint()
        yield key >> 3, message[place : place + size]
        place += size
