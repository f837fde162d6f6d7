"""Whether a folder's tokenizer is there, and is the model's."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.presets.families import Family
from components.presets.side_files import read_json_object

# Added tokens that stand for what is not text: a model of text alone has no embedding for them (Gemma 3 with 1 billion parameters).
_NOT_TEXT = ("image", "audio", "video", "vision")


def stands_for_text(token: str) -> bool:
    """Returns whether a model of text must have an embedding for a token."""
    return not any(word in token for word in _NOT_TEXT)


def find_tokenizer_problems(folder: str | Path, family: Family, config: Mapping[str, Any]) -> list[str]:
    """Returns what is wrong with the tokenizer's files, each a sentence.

    Args:
        folder: In Hugging Face's layout.
        family: Of its model.
        config: Its `config.json`.
    """
    root = Path(folder)
    if not any(all((root / name).is_file() for name in names) for names in family.tokenizer_files):
        expected = ", or ".join(" and ".join(names) for names in family.tokenizer_files)
        return [
            f"the tokenizer is missing: {expected}. Download the folder again, with all files whose names begin so."
        ]
    path = root / "tokenizer.json"
    if not path.is_file():
        return []
    rules = read_json_object(path)
    ids = read_ids(rules or {})
    if ids is None:
        return ["tokenizer.json must hold a vocabulary (`model.vocab`). Download it again."]
    problems = _find_vocabulary_problems(ids, rules or {}, family, config)
    named = read_json_object(root / "tokenizer_config.json") or {}
    unknown = [
        token for key in ("bos_token", "eos_token") if (token := get_token_text(named.get(key))) and token not in ids
    ]
    if unknown:
        problems.append(
            f"tokenizer.json must have the tokens that tokenizer_config.json names. Missing: {', '.join(unknown)}. The two files are "
            "of two models: take those that the model was published with."
        )
    return problems


def get_token_text(token: str | Mapping[str, Any] | None) -> str | None:
    """Returns the text of a token as files of transformers state it: as a string, or as an object."""
    text = token.get("content") if isinstance(token, Mapping) else token
    return text if isinstance(text, str) else None


def read_ids(rules: Mapping[str, Any]) -> dict[str, int] | None:
    """Returns ids by token, of the vocabulary and of the tokens that were added to it; None if there is no such thing in the rules."""
    try:
        vocabulary = rules["model"]["vocab"]
        if isinstance(vocabulary, list):  # Unigram: pairs of piece and score
            ids = {str(piece): i for i, (piece, _) in enumerate(vocabulary)}
        else:
            ids = dict(vocabulary)
        ids |= {token["content"]: token["id"] for token in rules.get("added_tokens") or []}
        return ids if all(isinstance(number, int) for number in ids.values()) else None
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def _find_vocabulary_problems(
    ids: dict[str, int], rules: Mapping[str, Any], family: Family, config: Mapping[str, Any]
) -> list[str]:
    problems = []
    size = config.get("vocab_size")
    largest = max((number for token, number in ids.items() if stands_for_text(token)), default=-1)
    hint = "The tokenizer is another model's: take the one that the model was published with."
    if isinstance(size, int) and largest >= size:
        problems.append(
            f"tokenizer.json must have ids below {size}, the model's `vocab_size`. Its largest is {largest}. {hint}"
        )
    elif isinstance(size, int) and len(ids) < size // 2:
        # Models round their vocabularies up, by some hundreds of tokens.
        problems.append(
            f"tokenizer.json must know at least half of the model's {size} tokens (`vocab_size`). It has {len(ids)}. {hint}"
        )
    missing = [token for token in family.special_tokens if token not in ids]
    if missing:
        problems.append(
            f"tokenizer.json must have {', '.join(family.special_tokens)}, which KerasHub's tokenizer of this family needs. Missing: "
            f"{', '.join(missing)}."
        )
    special = {token["id"] for token in rules.get("added_tokens") or [] if token.get("special")}
    ends = config.get("eos_token_id")
    wanted = [end for end in (ends if isinstance(ends, list) else [ends]) if isinstance(end, int)]
    if special and wanted and not special & set(wanted):
        # Of several end tokens one is enough: lists also name tokens that nobody has added.
        found = {number: token for token, number in ids.items()}
        received = ", ".join(f"{end} is {found.get(end, 'no token')!r}" for end in wanted)
        problems.append(
            f"tokenizer.json must have the model's end token (`eos_token_id`) as a special token. Received: {received}. {hint}"
        )
    return problems
