"""One transformed example as the loss sees it."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from components.text import features


@dataclass(frozen=True, kw_only=True)
class SpecialTokens:
    """The special tokens of a model.

    Attributes:
        start_id: The token that every sequence begins with; None where the model has none.
        end_ids: Each of these ends a completion.
        all_ids: All special tokens, these included.
    """

    start_id: int | None
    end_ids: tuple[int, ...]
    all_ids: frozenset[int]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of a split.

    Attributes:
        example_id: Of its record.
        token_ids: int64 (n,).
        weight: float32 (n,), the weight of each token in the loss; 0 on the first one, which nothing predicts.
        num_response_tokens: How many tokens had a weight before token cleaning.
        tokens_cut: How many tokens of the prompt, and of the response, truncation took away.
        template_specials: How many special tokens the template put there, before truncation; None where that is unknown.
    """

    example_id: str
    token_ids: np.ndarray
    weight: np.ndarray
    num_response_tokens: int
    tokens_cut: tuple[int, int]
    template_specials: int | None

    def to_json(self) -> dict[str, Any]:
        """Returns a form that can be written to a file."""
        arrays = {"token_ids": self.token_ids.tolist(), "weight": self.weight.tolist()}
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)} | arrays

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Row":
        """Returns what `to_json` was called on."""
        arrays = {
            "token_ids": np.array(value["token_ids"], np.int64),
            "weight": np.array(value["weight"], np.float32),
            "tokens_cut": tuple(value["tokens_cut"]),
        }
        return cls(**(value | arrays))

    @property
    def is_supervised(self) -> np.ndarray:
        """bool (n,): whether the loss counts a token."""
        return self.weight > 0

    @property
    def num_supervised(self) -> int:
        """Tokens that the loss counts."""
        return int(np.count_nonzero(self.is_supervised))

    @property
    def full_length(self) -> int:
        """Tokens before truncation."""
        return len(self.token_ids) + sum(self.tokens_cut)

    def list_spans(self) -> list[tuple[int, int]]:
        """Returns [start, end) of each run of tokens that the loss counts."""
        edges = np.flatnonzero(np.diff(self.is_supervised.astype(np.int8), prepend=0, append=0))
        return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]

    def count_specials_in_text(self, tokens: SpecialTokens) -> int:
        """Returns how many special tokens there are beyond those of the template.

        Of a truncated row this is the least that it can be: what was cut away may have been the template's.
        """
        if self.template_specials is None:
            return 0
        num_specials = sum(map(tokens.all_ids.__contains__, self.token_ids.tolist()))
        return max(num_specials - self.template_specials, 0)


def parse_row(serialized: bytes) -> Row:
    """Returns a row from a serialized transformed example."""
    import tensorflow as tf  # Imported by the workers, not where rows are only counted.

    values = tf.train.Example.FromString(serialized).features.feature

    def numbers(name: str) -> Any:
        return values[name].int64_list.value if name in values else []

    token_ids = np.array(numbers(features.TOKEN_IDS), np.int64)
    weight = np.array(values[features.LOSS_WEIGHT].float_list.value, np.float32)
    if len(token_ids) != len(weight):
        raise ValueError(f"an example has {len(token_ids)} tokens and {len(weight)} weights: they must be as many")
    weight[:1] = 0  # the Trainer trains position t to predict token t + 1
    example_id = values[features.EXAMPLE_ID].bytes_list.value
    response = next(iter(numbers(features.NUM_RESPONSE_TOKENS)), None)
    return Row(
        example_id=example_id[0].decode("utf-8", "replace") if example_id else "",
        token_ids=token_ids,
        weight=weight,
        num_response_tokens=int(np.count_nonzero(weight)) if response is None else int(response),
        tokens_cut=_take_two(numbers(features.TOKENS_CUT)),
        template_specials=next(iter(numbers(features.TEMPLATE_SPECIALS)), None),
    )


def _take_two(values: Any) -> tuple[int, int]:
    found: Iterator[int] = iter(values)
    return int(next(found, 0)), int(next(found, 0))
