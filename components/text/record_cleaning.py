"""Cleaning of a record's texts before they are rendered: characters, and special tokens that they spell out."""

import re
from collections.abc import Collection, Sequence
from dataclasses import replace

from components.text.cleaning import END_TOKENS, NONE, clean_and_tell, clean_text, has_text
from components.text.conversation import REASONING_KEYS, TRAIN, Conversation

_EDGE_BLANKS = re.compile(r"[ \t\n]*")
# What stands between an instruction and its input in a user turn.
INPUT_SEPARATOR = "\n\n"
# Keys of a message that are text to read; what is in tool calls is data, whose blanks and indentation matter.
_PROSE = ("content", *REASONING_KEYS)


def neutralize(text: str, special_tokens: Sequence[str]) -> tuple[str, int]:
    """Returns `text` with a space inside every special token of the model, or in place of one of a single character, and how many there were.

    A KerasHub tokenizer turns the characters `<|endoftext|>` into the end token wherever they stand, so that a record or
    a user could end a text, or impersonate a turn, by writing them.
    """
    count = 0
    for token in special_tokens:
        if token and token in text:
            count += text.count(token)
            text = text.replace(token, break_token(token))
    return text, count


def break_token(token: str) -> str:
    """Returns what stands in a text in place of a special token's characters."""
    return f"{token[0]} {token[1:]}" if len(token) > 1 else " "


def join_request(instruction: str, context: str) -> str:
    """Returns an instruction and its input as the text of one user turn."""
    return INPUT_SEPARATOR.join(filter(None, [instruction, context]))


def clean_seam(before: str, after: str, level: str) -> str:
    """Returns the blank between two texts that are cleaned one by one but follow each other."""
    # On the level `none` the first one ends with its blanks as it is.
    trailing = _EDGE_BLANKS.match(clean_text(f"{before}|", level)[::-1], 1) if level != NONE else None
    leading = _EDGE_BLANKS.match(clean_text(f"|{after}", level), 1)
    blanks = (trailing[0][::-1] if trailing else "") + (leading[0] if leading else "")
    return clean_text(f"|{blanks}|", level)[1:-1]


def join_seam(before: str, after: str, cleaned: str, level: str) -> str:
    """Returns a cleaned answer with what stood between it and its request, for templates that write nothing there.

    The blank that parts the two belongs to the answer, as a request ends without one.

    Args:
        before: The request as it was.
        after: The answer as it was.
        cleaned: The answer.
        level: One of `cleaning.LEVELS`.
    """
    return clean_seam(before, after, level) + cleaned.lstrip(" \t\n")


def join_seams(raw: Conversation, cleaned: Conversation, level: str) -> Conversation:
    """Returns a cleaned conversation with `join_seam` applied to each answer."""
    messages = [dict(message) for message in cleaned.messages]
    for i, message in enumerate(messages[1:], start=1):
        if message["role"] == "assistant" and message["content"]:
            before, after = raw.messages[i - 1]["content"], raw.messages[i]["content"]
            message["content"] = join_seam(before, after, message["content"], level)
    return replace(cleaned, messages=messages)


class Cleaner:
    """Cleans the texts of one record, and counts what it changes.

    Attributes:
        neutralized: Special tokens so far.
        changes: The first text, as it was and as it is now, by kind of change.
    """

    def __init__(self, special_tokens: Sequence[str], end_tokens: Collection[str], level: str):
        """Takes the model's special tokens, those that close an answer, and one of `cleaning.LEVELS`."""
        self._special_tokens = special_tokens
        self._end_tokens = tuple(sorted(filter(None, end_tokens)))
        self._level = level
        self.neutralized = 0
        self.changes: dict[str, tuple[str, str]] = {}

    def __call__(self, text: str) -> str:
        """Returns a text cleaned, with a space inside of every special token."""
        return self.neutralize(self.clean_characters(text))

    def clean_characters(self, text: str) -> str:
        """Returns a text cleaned; special tokens in it stay."""
        cleaned, kinds = clean_and_tell(text, self._level)
        for kind in kinds:
            self.changes.setdefault(kind, (text, cleaned))
        return cleaned

    def neutralize(self, text: str) -> str:
        """Returns a text with a space inside of every special token."""
        text, count = neutralize(text, self._special_tokens)
        self.neutralized += count
        return text

    def clean_answer(self, text: str) -> str:
        """Returns an answer cleaned; an end token in letters at its end goes, as one is put there anyway."""
        cleaned = text = self.clean_characters(text)
        while self._end_tokens and text.rstrip().endswith(self._end_tokens):
            text = text.rstrip()
            text = text.removesuffix(max(filter(text.endswith, self._end_tokens), key=len))
        if text != cleaned:
            self.changes.setdefault(END_TOKENS, (cleaned, text))
        return self(text)

    def clean(self, conversation: Conversation) -> Conversation:
        """Returns a conversation cleaned; an assistant turn of which nothing is left is no training target."""
        messages = []
        for message in conversation.messages:
            is_answer = message["role"] == "assistant"
            prose = {
                key: (self.clean_answer if is_answer else self)(message[key])
                for key in _PROSE
                if isinstance(message.get(key), str)
            }
            rest = {key: value for key, value in message.items() if key not in prose}
            rest = Conversation(messages=[rest]).map_text(self.neutralize).messages[0]
            cleaned = {key: rest[key] if key in rest else prose[key] for key in message}
            if is_answer and not has_text(cleaned["content"] or "") and not cleaned.get("tool_calls"):
                cleaned[TRAIN] = False
            messages.append(cleaned)
        tools = Conversation(messages=[], tools=conversation.tools).map_text(self.neutralize).tools
        return Conversation(messages=messages, tools=tools)
