"""A SentencePiece model made of a `tokenizer.json`, for folders that have no `tokenizer.model`."""

from collections.abc import Mapping
from typing import Any

from components.models.converters import load_converter

# Tokens that text can never become, in the models that Google and Mistral publish.
_CONTROL = ("<pad>", "<bos>", "<eos>", "<s>", "</s>")


def make_sentence_piece(rules: Mapping[str, Any]) -> bytes:
    """Returns a serialized SentencePiece model with the pieces and merges of a `tokenizer.json`.

    KerasHub has a builder for Gemma 3, which is right for pieces and scores. Two things depend on the model: whether a space is put
    before a text, and which tokens text can become.

    Args:
        rules: The file: byte-pair merges with bytes to fall back to.

    Raises:
        ValueError: It is of another kind.
    """
    from sentencepiece import sentencepiece_model_pb2

    model = rules["model"]
    if model.get("type") != "BPE" or not model.get("byte_fallback"):
        raise ValueError(
            "tokenizer.json must have byte-pair merges with `byte_fallback`, as SentencePiece has. Take the model's tokenizer.model"
        )
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(load_converter("convert_gemma3")._build_sentencepiece_proto(rules))
    kinds = sentencepiece_model_pb2.ModelProto.SentencePiece
    has_tab_byte = any(piece.piece == "<0x09>" for piece in proto.pieces)
    for piece in proto.pieces:
        if piece.piece in _CONTROL:
            piece.type = kinds.CONTROL
        elif piece.piece == "\t" and not has_tab_byte:
            # transformers gives Gemma's piece for this byte another name; SentencePiece insists on all 256.
            piece.piece, piece.type, piece.score = "<0x09>", kinds.BYTE, 0.0
    proto.normalizer_spec.add_dummy_prefix = has_dummy_prefix(rules)
    return proto.SerializeToString()


def has_dummy_prefix(rules: Mapping[str, Any]) -> bool:
    """Returns whether a `tokenizer.json` puts a space before a text."""
    normalizer, splitter = rules.get("normalizer") or {}, rules.get("pre_tokenizer") or {}
    steps = [*normalizer.get("normalizers", [normalizer]), *splitter.get("pretokenizers", [splitter])]
    return any(
        step.get("type") == "Prepend" or (step.get("type") == "Metaspace" and step.get("prepend_scheme") != "never")
        for step in steps
    )
