"""Which split a record belongs to: decided by its prompt alone, so that no prompt is in two splits."""

import math
import re
import unicodedata
from collections.abc import Mapping

from components.text import features
from components.text.cleaning import IGNORABLE, NORMALIZE, clean_text
from components.text.conversation import parse_conversation
from components.text.hashing import hash_to_share

SPLITS = ("train", "eval", "test")
_SEPARATOR = "\x1f"
# More than cleaning takes away: emoji and several scripts need some of them, but no two prompts differ by them alone.
_IGNORABLE = re.compile(f"[{IGNORABLE}]")


def prompt_key(example: Mapping[str, str]) -> str:
    """Returns the prompt in the form in which two prompts count as the same one.

    Invisible characters, Unicode's compatibility forms, case and the amount of white space do not make a difference, whatever
    `text.cleaning` leaves of them; nor does it where an instruction ends and its input begins.

    Args:
        example: Features of a raw example. A chat's prompt is its turns before the last answer that is trained, with their roles; a
            system turn without text is none.
    """
    if messages := example.get(features.MESSAGES):
        conversation = parse_conversation(messages)
        turns = [
            turn
            for turn in conversation.messages[: conversation.trained[-1]]
            if turn["role"] != "system" or turn["content"].strip()
        ]
        parts = [part for turn in turns for part in (turn["role"], turn["content"])]
    else:
        parts = [f"{example[features.INSTRUCTION]} {example[features.INPUT]}", ""]
    return _SEPARATOR.join(map(_fold, parts))


def _fold(text: str) -> str:
    visible = _IGNORABLE.sub("", unicodedata.normalize("NFKC", clean_text(text, NORMALIZE)))
    return " ".join(visible.casefold().split())


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
