"""What a record becomes, and the rules of its tokens: which are targets, and which go when there are too many."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


class Tokenizer(Protocol):
    """What is used of a KerasHub tokenizer."""

    end_token_id: int
    special_tokens: list[str]

    def __call__(self, inputs: str) -> Sequence[int]:
        """Returns the token ids of one text."""


@dataclass(frozen=True, kw_only=True)
class TokenizedRecord:
    """One example in tokens.

    Attributes:
        token_ids: Start token (where the model has one), prompt, response, end token; at most `max_length`.
        target_mask: As long as `token_ids`; 1 on what the model has to write: the response and its end token, and in a
            conversation the answers before.
        num_prompt_tokens: How many of the tokens stand before the response.
        prompt: The rendered prompt.
        response: The cleaned answer.
        prompt_tokens_cut: How many prompt tokens truncation took away.
        response_tokens_cut: How many response tokens (end token included) truncation took away.
        neutralized: How many special tokens of the model stood in the record's text.
        template_specials: How many special tokens the template put there, start and end token included, before truncation.
            What an example has more of them comes from the record's own text.
        changes: What cleaning has changed: by kind the first text, as it was and as it is.
        note: Why earlier answers of a conversation are no targets though they were asked for; "" if they are, or were not.
    """

    token_ids: list[int] = field(repr=False)
    target_mask: list[int] = field(repr=False)
    num_prompt_tokens: int
    prompt: str
    response: str
    prompt_tokens_cut: int
    response_tokens_cut: int
    neutralized: int
    template_specials: int
    changes: Mapping[str, tuple[str, str]] = field(default_factory=dict, repr=False)
    note: str = ""


def start_token_id(tokenizer: Tokenizer) -> int | None:
    """Returns the id that every sequence begins with, or None: as KerasHub's own preprocessors do when they generate."""
    return getattr(tokenizer, "start_token_id", None)


def truncate(
    prompt_ids: Sequence[int], response_ids: Sequence[int], max_length: int, num_head: int = 0
) -> tuple[list[int], list[int]]:
    """Returns prompt and response cut to `max_length` tokens in all.

    The response comes first: it may take half of the length, or what the prompt leaves free. The prompt is cut at its
    beginning (behind `num_head` tokens that stay), because its end asks for the response; the response at its end.
    """
    response_length = min(len(response_ids), max(max_length // 2, max_length - len(prompt_ids)))
    prompt_length = min(len(prompt_ids), max_length - response_length)
    head = list(prompt_ids[:num_head])[:prompt_length]
    tail = list(prompt_ids[len(prompt_ids) - (prompt_length - len(head)) :])
    return head + tail, list(response_ids[:response_length])


def mark_tokens(offsets: Sequence[tuple[int, int]], spans: Sequence[tuple[int, int]]) -> list[int]:
    """Returns 1 for each token that ends within a span, 0 for the others.

    So a token across the beginning of an answer is a target, since it holds a part of the answer; one across its end is not, since
    the model would learn to write what follows.

    Args:
        offsets: The [start, end) characters of each token, in order.
        spans: [start, end) characters, in order and apart.
    """
    mask, place = [], 0
    for _, end in offsets:
        while place < len(spans) and spans[place][1] < end:
            place += 1
        mask.append(int(place < len(spans) and spans[place][0] < end))
    return mask
