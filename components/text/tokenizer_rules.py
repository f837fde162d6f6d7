"""The rules of a byte-level byte-pair tokenizer, in the form of Hugging Face's `tokenizer.json`.

They are the publisher's where he has written them down; else those of the model's family, put together here.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.errors import UserError
from components.presets.side_files import find_side_file

RULES_NAME = "tokenizer.json"

_CONTRACTION = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
# The parts after the words and numbers, the same in all patterns that descend from GPT-4's.
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_WORD = rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+"
_SHOUTED_WORD = rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*"

LLAMA3_PATTERN = rf"{_CONTRACTION}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}|{_REST}"
QWEN2_PATTERN = rf"{_CONTRACTION}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}|{_REST}"
QWEN3_5_PATTERN = (
    rf"{_CONTRACTION}|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+|\p{{N}}| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# GPT-4o's, which gpt-oss has.
GPT_OSS_PATTERN = (
    rf"{_WORD}{_CONTRACTION}?|{_SHOUTED_WORD}{_CONTRACTION}?|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
BLOOM_PATTERN = " ?[^(\\s|[.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c])]+"


@dataclass(frozen=True, kw_only=True)
class Family:
    """What tokenizers of one family share.

    Attributes:
        pre_tokenizers: In order, as in `tokenizer.json`.
        normalizer: As in `tokenizer.json`.
        ignore_merges: Whether a word that is a token is taken whole, whatever the merges would make of it.
    """

    pre_tokenizers: Sequence[Mapping[str, Any]]
    normalizer: Mapping[str, Any] | None = None
    ignore_merges: bool = False


def split(pattern: str) -> dict[str, Any]:
    """Returns the pre-tokenizer that makes each match of `pattern` a word of its own."""
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


def byte_level(*, use_regex: bool) -> dict[str, Any]:
    """Returns the pre-tokenizer that turns bytes into printable characters; with `use_regex` by GPT-2's pattern before."""
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": use_regex}


_NFC = {"type": "NFC"}
GPT2 = Family(pre_tokenizers=[byte_level(use_regex=True)])
GPT_NEO_X = Family(pre_tokenizers=[byte_level(use_regex=True)], normalizer=_NFC)
SMOLLM2 = Family(pre_tokenizers=[{"type": "Digits", "individual_digits": True}, byte_level(use_regex=True)])
LLAMA3 = Family(pre_tokenizers=[split(LLAMA3_PATTERN), byte_level(use_regex=False)], ignore_merges=True)
QWEN2 = Family(pre_tokenizers=[split(QWEN2_PATTERN), byte_level(use_regex=False)], normalizer=_NFC)
QWEN3_5 = Family(pre_tokenizers=[split(QWEN3_5_PATTERN), byte_level(use_regex=False)], normalizer=_NFC)
GPT_OSS = Family(pre_tokenizers=[split(GPT_OSS_PATTERN), byte_level(use_regex=False)])
BLOOM = Family(pre_tokenizers=[split(BLOOM_PATTERN), byte_level(use_regex=False)])
FALCON = Family(
    pre_tokenizers=[
        {"type": "Punctuation", "behavior": "Contiguous"},
        byte_level(use_regex=True),
        {"type": "Digits", "individual_digits": False},
        split("[0-9][0-9][0-9]"),
    ]
)

# By the class of KerasHub's tokenizer.
FAMILIES: dict[str, Family] = {
    "BartTokenizer": GPT2,
    "BloomTokenizer": BLOOM,
    "FalconTokenizer": FALCON,
    "GPT2Tokenizer": GPT2,
    "GPTNeoXTokenizer": GPT_NEO_X,
    "GptOssTokenizer": GPT_OSS,
    "Llama3Tokenizer": LLAMA3,
    "OPTTokenizer": GPT2,
    "Qwen3MoeTokenizer": QWEN2,
    "Qwen3Tokenizer": QWEN2,
    "Qwen3_5MoeTokenizer": QWEN3_5,
    "Qwen3_5Tokenizer": QWEN3_5,
    "QwenMoeTokenizer": QWEN2,
    "QwenTokenizer": QWEN2,
    "RobertaTokenizer": GPT2,
    "SmolLM3Tokenizer": LLAMA3,
}
# Models of Llama's architecture have tokenizers of several families under one class; a token that no other has tells which.
_TOKEN_OF = {"Llama3Tokenizer": {"<|begin_of_text|>": LLAMA3, "<jupyter_start>": SMOLLM2}}
_TAG = re.compile(r"<[^<>\s]+>|\[[A-Z_]+\]")


def read_rules(folder: str | Path) -> dict[str, Any] | None:
    """Returns the publisher's rules of a preset folder, without start token, truncation and padding; None if it has none.

    Raises:
        UserError: If the file is no such rules.
    """
    path = find_side_file(folder, RULES_NAME)
    if path is None:
        return None
    try:
        rules = json.loads(path.read_text(encoding="utf-8"))
        rules["model"]["type"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} must hold the rules of a tokenizer: JSON with the key `model`. Received: "
            f"{type(error).__name__}: {error}. Download the file again."
        ) from error
    return {**rules, "post_processor": None, "truncation": None, "padding": None}


def find_family(classes: Iterable[str], vocabulary: Mapping[str, int]) -> Family | None:
    """Returns the family of a tokenizer; None if there is none for it.

    Args:
        classes: The name of its class, then those of its bases.
        vocabulary: Token to id.
    """
    for name in classes:
        if name in _TOKEN_OF:
            return next((family for token, family in _TOKEN_OF[name].items() if token in vocabulary), None)
        if name in FAMILIES:
            return FAMILIES[name]
    return None


def make_rules(
    family: Family,
    vocabulary: Mapping[str, int],
    merges: Iterable[str],
    special_tokens: Iterable[str],
    *,
    prefix_space: bool,
) -> dict[str, Any]:
    """Returns the rules of a tokenizer that has no `tokenizer.json`.

    Args:
        family: Its family.
        vocabulary: Token to id.
        merges: "left right", in order of rank.
        special_tokens: Those that KerasHub knows. Others that look like tags, and that no merge makes, are special as well.
        prefix_space: Whether a space is put before each text.
    """
    pairs = [merge.split(" ") for merge in merges if not merge.lstrip().startswith("#version")]
    made = {left + right for left, right in pairs}
    special = {token for token in special_tokens if token in vocabulary}
    special |= {token for token in vocabulary if token not in made and _TAG.fullmatch(token)}
    added = [
        {"id": vocabulary[token], "content": token, "special": True, "normalized": False}
        | dict.fromkeys(("single_word", "lstrip", "rstrip"), False)
        for token in sorted(special, key=vocabulary.__getitem__)
    ]
    steps = [
        {**step, "add_prefix_space": prefix_space} if step["type"] == "ByteLevel" else dict(step)
        for step in family.pre_tokenizers
    ]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": family.normalizer,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": steps},
        "post_processor": None,
        "decoder": byte_level(use_regex=True),
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": family.ignore_merges,
            "vocab": dict(vocabulary),
            "merges": pairs,
        },
    }
