"""From a raw record to token ids: clean, render, tokenize, mark the targets, truncate."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from components.text import features
from components.text.cleaning import clean_text
from components.text.templates import TEMPLATES, PromptTemplate


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
        target_mask: As long as `token_ids`; 1 on the response and the end token.
        prompt: The rendered prompt.
        response: The cleaned answer.
        prompt_tokens_cut: How many prompt tokens truncation took away.
        response_tokens_cut: How many response tokens (end token included) truncation took away.
        neutralized: How many special tokens of the model stood in the record's text.
        template_specials: How many special tokens the template put there, start and end token included, before truncation.
            What an example has more of them comes from the record's own text.
    """

    token_ids: list[int] = field(repr=False)
    target_mask: list[int] = field(repr=False)
    prompt: str
    response: str
    prompt_tokens_cut: int
    response_tokens_cut: int
    neutralized: int
    template_specials: int


def neutralize(text: str, special_tokens: Sequence[str]) -> tuple[str, int]:
    """Returns `text` with a space inside every special token of the model, and how many there were.

    A KerasHub tokenizer turns the characters `<|endoftext|>` into the end token wherever they stand, so that a record or
    a user could end a text, or impersonate a turn, by writing them.
    """
    count = 0
    for token in special_tokens:
        if token and token in text:
            count += text.count(token)
            text = text.replace(token, f"{token[0]} {token[1:]}")
    return text, count


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


class RecordTokenizer:
    """Turns raw records into tokens with one template and one model's tokenizer."""

    def __init__(self, tokenizer: Tokenizer, template: str, system: str, max_length: int):
        """Sets the tokenizer up.

        Args:
            tokenizer: The model's.
            template: A name in `TEMPLATES`.
            system: Text before every prompt; "" for none.
            max_length: Most tokens of one example.
        """
        self._tokenizer = tokenizer
        self._template: PromptTemplate = TEMPLATES[template]
        self._system = clean_text(system)
        self._max_length = max_length
        start = start_token_id(tokenizer)
        self._start = [] if start is None else [int(start)]

    def __call__(self, record: Mapping[str, str]) -> TokenizedRecord | None:
        """Returns the record in tokens, or None if nothing is left of its response once it is cleaned.

        Args:
            record: The raw text features by name.
        """
        prompt, response, neutralized = self._render(record)
        if not response:
            return None
        prompt_ids = [*self._start, *(int(i) for i in self._tokenizer(prompt))]
        response_ids = [*(int(i) for i in self._tokenizer(response)), int(self._tokenizer.end_token_id)]
        kept_prompt, kept_response = truncate(prompt_ids, response_ids, self._max_length, num_head=len(self._start))
        return TokenizedRecord(
            token_ids=kept_prompt + kept_response,
            target_mask=[0] * len(kept_prompt) + [1] * len(kept_response),
            prompt=prompt,
            response=response,
            prompt_tokens_cut=len(prompt_ids) - len(kept_prompt),
            response_tokens_cut=len(response_ids) - len(kept_response),
            neutralized=neutralized,
            template_specials=len(self._start) + 1,
        )

    def _render(self, record: Mapping[str, str]) -> tuple[str, str, int]:
        special = list(self._tokenizer.special_tokens)
        end_token = next((t for t in special if self._is_end(t)), "")
        total = 0

        def clean(text: str) -> str:
            nonlocal total
            text, count = neutralize(clean_text(text), special)
            total += count
            return text

        def clean_response(text: str) -> str:
            # Some data sets close each answer with the end token in letters; one is appended anyway.
            text = text.rstrip()
            return clean(text.removesuffix(end_token) if end_token else text)

        if messages := record.get(features.MESSAGES):
            turns: list[dict[str, Any]] = json.loads(messages)
            cleaned = [{"role": t["role"], "content": clean(t["content"])} for t in turns[:-1]]
            cleaned.append({"role": turns[-1]["role"], "content": clean_response(turns[-1]["content"])})
            prompt, response = self._template.render_messages(cleaned, self._system)
        else:
            instruction, context = clean(record[features.INSTRUCTION]), clean(record.get(features.INPUT, ""))
            prompt = self._template.render(instruction, context, self._system)
            response = clean_response(record[features.OUTPUT])
        return prompt, response, total

    def _is_end(self, token: str) -> bool:
        ids = self._tokenizer(token)
        return len(ids) == 1 and int(ids[0]) == int(self._tokenizer.end_token_id)
