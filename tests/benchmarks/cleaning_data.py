"""Data for the token cleaning benchmark: tokenized records, and noise of which the truth is known."""

import gzip
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from components.text import features
from components.text.tokenization import RecordTokenizer

BOILERPLATE = (
    " I hope this helps.",
    " Thank you for asking.",
    " As always, please check this.",
    " Let me know what you think.",
    " That is a good question.",
)


@dataclass
class Example:
    """One tokenized record.

    Attributes:
        example_id: Unique name.
        token_ids: Prompt, response, end token.
        target_mask: 1 on the response and the end token.
        is_noise: 1 on tokens that a script has put there; as long as `token_ids`.
    """

    example_id: str
    token_ids: list[int]
    target_mask: list[int]
    is_noise: list[int] = field(default_factory=list)


def read_records(path: str, columns: dict[str, str]) -> list[dict[str, str]]:
    """Returns the records of a JSON Lines file (also .gz) with `instruction`, `input` and `output`."""
    data = Path(path).read_bytes()
    text = (gzip.decompress(data) if path.endswith(".gz") else data).decode()
    rows = [json.loads(line) for line in text.split("\n") if line.strip()]
    return [{"input": "", **{name: row[column] for name, column in columns.items()}} for row in rows]


def tokenize(records: Sequence[dict[str, str]], tokenizer: RecordTokenizer, prefix: str) -> list[Example]:
    """Returns the records in tokens, by the product's own tokenizer."""
    examples = []
    for i, record in enumerate(records):
        tokenized = tokenizer(
            {
                features.INSTRUCTION: record["instruction"],
                features.INPUT: record["input"],
                features.OUTPUT: record["output"],
            }
        )
        if tokenized is not None:
            ids, mask = tokenized.token_ids, tokenized.target_mask
            examples.append(Example(f"{prefix}{i}", ids, mask, [0] * len(ids)))
    return examples


def add_noise(
    examples: Sequence[Example], share: float, encode: Callable[[str], Sequence[int]], vocabulary_size: int, seed: int
) -> list[Example]:
    """Returns the examples with `share` of all response tokens being noise, one half of it of each kind.

    *Boilerplate*: a polite sentence after the answer, before the end token. *Corruption*: an answer token replaced by one
    drawn from the whole vocabulary. End tokens stay.
    """
    rng = np.random.default_rng(seed)
    phrases = [list(map(int, encode(text))) for text in BOILERPLATE]
    noisy = [Example(e.example_id, list(e.token_ids), list(e.target_mask), [0] * len(e.token_ids)) for e in examples]
    num_clean = sum(sum(e.target_mask) for e in noisy)
    # Of clean + boilerplate tokens, `share / 2` is boilerplate.
    missing = num_clean * (share / 2) / (1 - share / 2)
    for i in rng.permutation(len(noisy)):
        if missing <= 0:
            break
        phrase = phrases[rng.integers(len(phrases))]
        example = noisy[i]
        example.token_ids[-1:-1] = phrase
        example.target_mask[-1:-1] = [1] * len(phrase)
        example.is_noise[-1:-1] = [1] * len(phrase)
        missing -= len(phrase)
    places = [(e, t) for e in noisy for t in range(len(e.token_ids) - 1) if e.target_mask[t] and not e.is_noise[t]]
    num_corrupted = round(share / 2 * sum(sum(e.target_mask) for e in noisy))
    for k in rng.permutation(len(places))[:num_corrupted]:
        example, t = places[k]
        example.token_ids[t] = int((example.token_ids[t] + rng.integers(1, vocabulary_size)) % vocabulary_size)
        example.is_noise[t] = 2
    return noisy
