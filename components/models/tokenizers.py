"""Mends of KerasHub's tokenizers: made from what a folder has, and saved so that they can be loaded again.

Which ids they give is not mended here.
"""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from keras_hub.models import Llama3Tokenizer, MistralTokenizer
from keras_hub.tokenizers import BytePairTokenizer, SentencePieceTokenizer

from components.models.converters import load_converter
from components.models.sentence_piece import make_sentence_piece
from components.presets.side_files import read_json_object
from components.presets.tokenizer_files import get_token_text


def mend() -> None:
    """Mends the tokenizers of all families."""
    # Neither start and end token nor the others were saved: loading asked for Llama 3's ("Cannot find special token"), which other
    # models of this architecture do not have. The default was a set that each tokenizer took its tokens out of.
    base_config = BytePairTokenizer.get_config
    BytePairTokenizer.get_config = lambda self: _sort_unsplittable(base_config(self))
    Llama3Tokenizer.__init__ = _init_llama3
    Llama3Tokenizer.get_config = _get_llama3_config
    _replace("convert_llama3", convert_llama3_tokenizer)
    # Folders that transformers 5 writes have `tokenizer.json` alone.
    _replace("convert_gpt2", convert_gpt2_tokenizer)
    _replace("convert_gemma", convert_sentence_piece_tokenizer)
    # KerasHub can do that for Gemma 3, but with a module that wants another protobuf than TensorFlow's.
    _replace("convert_gemma3", convert_gemma3_tokenizer)
    _replace("convert_mistral", convert_mistral_tokenizer)


def _replace(module: str, convert: Callable[..., Any]) -> None:
    vars(load_converter(module))["convert_tokenizer"] = convert


def _sort_unsplittable(config: dict[str, Any]) -> dict[str, Any]:
    """A set's order went into the preset, so that one model had another hash in each process."""
    tokens = config.get("unsplittable_tokens")
    return config | {"unsplittable_tokens": None if tokens is None else sorted(tokens)}


def _init_llama3(
    self: Any,
    vocabulary: Any = None,
    merges: Any = None,
    bos_token: str | None = "<|begin_of_text|>",
    eos_token: str = "<|end_of_text|>",
    misc_special_tokens: Iterable[str] = ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    **options: Any,
) -> None:
    """As KerasHub's, which see; `misc_special_tokens` may be a list, as it is in a saved preset."""
    rest = sorted(set(misc_special_tokens) - {bos_token, eos_token})
    if bos_token is None:
        self.start_token, self.start_token_id = None, None
    else:
        self._add_special_token(bos_token, "start_token")
    self._add_special_token(eos_token, "end_token")
    for i, token in enumerate(rest):
        self._add_special_token(token, f"special_token_{i:03d}")
    # Llama 3's two ends: KerasHub stops at both where the configuration names the one of whole texts.
    if eos_token == "<|end_of_text|>" and "<|eot_id|>" in rest:
        self._add_special_token("<|eot_id|>", "end_token2")
    self.pad_token_id = 0
    BytePairTokenizer.__init__(self, vocabulary=vocabulary, merges=merges, **options)


def _get_llama3_config(self: Any) -> dict[str, Any]:
    rest = sorted(set(self.special_tokens) - {self.start_token, self.end_token})
    return {
        **BytePairTokenizer.get_config(self),
        "bos_token": self.start_token,
        "eos_token": self.end_token,
        "misc_special_tokens": rest,
    }


def convert_llama3_tokenizer(cls: type, preset: str, **options: Any) -> Any:
    """Makes the tokenizer of a folder with `tokenizer.json`; its start and end tokens may be objects, or missing."""
    vocabulary, merges, special = _read_byte_pair(preset)
    config = read_json_object(Path(preset) / "tokenizer_config.json") or {}
    start, end = (get_token_text(config.get(key)) for key in ("bos_token", "eos_token"))
    if end is None:
        raise ValueError("tokenizer_config.json must have an `eos_token`")
    return cls(
        vocabulary=vocabulary, merges=merges, bos_token=start, eos_token=end, misc_special_tokens=special, **options
    )


def convert_gpt2_tokenizer(cls: type, preset: str, **options: Any) -> Any:
    """Makes the tokenizer of a folder with `vocab.json` and `merges.txt`, or with `tokenizer.json` alone."""
    vocabulary, merges = (Path(preset) / name for name in ("vocab.json", "merges.txt"))
    if vocabulary.is_file() and merges.is_file():
        return cls(vocabulary=str(vocabulary), merges=str(merges), **options)
    pieces, rules, _ = _read_byte_pair(preset)
    return cls(vocabulary=pieces, merges=rules, **options)


def convert_sentence_piece_tokenizer(cls: type, preset: str, **options: Any) -> Any:
    """Makes the tokenizer of a folder with `tokenizer.model`, or with `tokenizer.json` alone."""
    return cls(_read_sentence_piece(preset), **options)


def convert_mistral_tokenizer(cls: type, preset: str, **options: Any) -> Any:
    """As `convert_sentence_piece_tokenizer`; for a folder, KerasHub picks one of Mistral's two classes by the order of a set."""
    del cls
    return convert_sentence_piece_tokenizer(MistralTokenizer, preset, **options)


def convert_gemma3_tokenizer(cls: type, preset: str, **options: Any) -> Any:
    """As `convert_sentence_piece_tokenizer`, with the tokens for images only where the model has them."""
    proto = _read_sentence_piece(preset)
    pieces = set(SentencePieceTokenizer(proto).get_vocabulary())
    has_images = {"<start_of_image>", "<img>", "<end_of_image>"} <= pieces
    return cls(proto, has_vision_tokens=has_images, **options)


def _read_sentence_piece(preset: str) -> bytes:
    path = Path(preset) / "tokenizer.model"
    if path.is_file():
        return path.read_bytes()
    return make_sentence_piece(json.loads((Path(preset) / "tokenizer.json").read_text(encoding="utf-8")))


def _read_byte_pair(preset: str) -> tuple[dict[str, int], list[str], list[str]]:
    """Vocabulary with added tokens, merges as lines, and added tokens, in their order in the file."""
    rules = json.loads((Path(preset) / "tokenizer.json").read_text(encoding="utf-8"))
    model = rules["model"]
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    # Hundreds of tokens that no text has, each of which would be a special case.
    added = [t for t in rules.get("added_tokens", []) if not t["content"].startswith("<|reserved_special_token_")]
    vocabulary = model["vocab"] | {token["content"]: token["id"] for token in added}
    return vocabulary, merges, [token["content"] for token in added]
