"""Which split a record belongs to: decided by its prompt alone, so that no prompt is in two splits."""

import math
import unicodedata
from collections.abc import Mapping

from components.text import features
from components.text.cleaning import NORMALIZE, clean_text
from components.text.conversation import parse_conversation
from components.text.hashing import hash_to_share

SPLITS = ("train", "eval", "test")
_SEPARATOR = "\x1f"


def prompt_key(example: Mapping[str, str]) -> str:
    """Returns the prompt in the form in which two prompts count as the same one.

    Invisible characters, Unicode's compatibility forms, case and the amount of white space do not make a difference, whatever
    `text.cleaning` leaves of them.

    Args:
        example: Features of a raw example. A chat's prompt is all its turns but the last, with their roles.
    """
    if messages := example.get(features.MESSAGES):
        parts = [
            part for turn in parse_conversation(messages).messages[:-1] for part in (turn["role"], turn["content"])
        ]
    else:
        parts = [example[features.INSTRUCTION], example[features.INPUT]]
    cleaned = (clean_text(part, NORMALIZE) for part in parts)
    return _SEPARATOR.join(" ".join(unicodedata.normalize("NFKC", part).casefold().split()) for part in cleaned)


def assign_split(key: str, shares: Mapping[str, float]) -> str:
    """Returns the split of a prompt: the same on every machine and in every run.

    Args:
        key: From `prompt_key`.
        shares: Share of each of `SPLITS`; they sum to 1.
    """
    point_share = hash_to_share(key.encode())
    upper = 0.0
    for name in SPLITS[:-1]:
        upper += shares[name]
        if point_share < upper:
            return name
    return SPLITS[-1]


def prompts_needed(share: float, confidence: float = 0.99) -> int:
    """Returns how many distinct prompts make a split of that share non-empty with that probability."""
    return math.ceil(math.log(1 - confidence) / math.log(1 - share))
