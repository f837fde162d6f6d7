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
# Behind each key; there once was more behind it, and splits stay what they were.
_SEPARATOR = "\x1f"
# More than cleaning takes away: emoji and several scripts need some of them, but no two prompts differ by them alone.
_IGNORABLE = re.compile(f"[{IGNORABLE}]")


def prompt_key(example: Mapping[str, str], default_system: str = "") -> str:
    """Returns the prompt in the form in which two prompts count as the same one.

    Invisible characters, Unicode's compatibility forms, case and the amount of white space do not make a difference, whatever
    `text.cleaning` leaves of them; nor does it where an instruction ends and its input begins, or one turn and the next.

    Args:
        example: Features of a raw example. A chat's prompt is its turns before the last answer that is trained.
        default_system: `text.system`, which stands in for a chat's own system text: one that says the same is as none.
    """
    if messages := example.get(features.MESSAGES):
        conversation = parse_conversation(messages)
        turns = conversation.messages[: conversation.trained[-1]]
        if turns[0]["role"] == "system" and _fold(turns[0]["content"]) == _fold(default_system):
            turns = turns[1:]
        text = " ".join(turn["content"] for turn in turns)
    else:
        text = f"{example[features.INSTRUCTION]} {example[features.INPUT]}"
    return f"{_fold(text)}{_SEPARATOR}"


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
