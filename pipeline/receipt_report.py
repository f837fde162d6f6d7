"""The receipt of a training as `receipt.json` holds it, checked when it is read."""

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from components.damage import describe_damage
from components.errors import UserError

RECEIPT_FILE = "receipt.json"


class _Part(BaseModel):
    # A later version may say more: what is not known here is kept for --json.
    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)


class Quantiles(_Part):
    """The distribution of a number; all None where there is none."""

    min: int | None
    p5: int | None
    p25: int | None
    median: int | None
    p75: int | None
    p95: int | None
    max: int | None
    mean: float | None


class Fit(_Part):
    """How many of the truncated rows a longer `text.max_length` would hold whole."""

    length: int
    rows: int


class Truncated(_Part):
    """Rows that were too long, and their lengths before."""

    rows: int
    prompt_tokens_cut: int
    response_tokens_cut: int
    full_length: Quantiles
    fits: list[Fit]


class Figures(_Part):
    """The figures of a split; see `components.receipt.counting.Counts`."""

    rows: int
    tokens: int
    supervised_tokens: int
    response_tokens: int
    weight_sum: float
    tokens_a_row: Quantiles
    supervised_tokens_a_row: Quantiles
    spans_a_row: Quantiles
    rows_without_supervised_token: int
    rows_cleaned_away: int
    rows_with_supervised_end_token: int
    rows_without_supervised_end_token: int
    rows_with_doubled_start_token: int
    rows_with_special_ids_in_text: int
    special_ids_in_text: int
    truncated: Truncated


class Violation(_Part):
    """A rule that a split breaks."""

    rule: str
    level: Literal["error", "warn"]
    split: str
    rows: int
    of: int
    example_id: str
    message: str


class Piece(_Part):
    """Neighbouring tokens of a row of which the loss makes the same: their text, number, weight, whether they are special."""

    text: str
    num_tokens: int
    weight: float
    special: bool


class Example(_Part):
    """A row with its mask. `rule` is the one that it breaks, "" for a row of the sample."""

    example_id: str
    split: str
    rule: str
    tokens_cut: tuple[int, int]
    pieces: list[Piece]

    @property
    def num_tokens(self) -> int:
        """Its tokens."""
        return sum(piece.num_tokens for piece in self.pieces)

    @property
    def num_supervised(self) -> int:
        """Those that the loss counts."""
        return sum(piece.num_tokens for piece in self.pieces if piece.weight > 0)


class Token(_Part):
    """A token of the vocabulary."""

    id: int
    text: str


class Receipt(_Part):
    """The receipt of one training. `receipt.json` holds these keys."""

    format_version: Literal[1]
    preset: str
    text: dict[str, Any]
    train_split: str
    eval_split: str
    start_token: Token | None
    end_tokens: list[Token]
    splits: dict[str, Figures]
    violations: list[Violation]
    examples: list[Example]

    @property
    def train(self) -> Figures:
        """The figures of the split that is trained on."""
        return self.splits[self.train_split]


def read_receipt(path: Path) -> Receipt:
    """Returns the receipt in a file.

    Raises:
        UserError: There is none, or it is damaged.
    """
    try:
        return Receipt.model_validate(json.loads(path.read_bytes()))
    except OSError as error:
        raise UserError(
            f"the receipt of a training must be a file that you can read. Received: {path} ({error.strerror}). Put it back "
            "where the run wrote it, or give another run with --run."
        ) from error
    except ValueError as error:
        problem = describe_damage(error)
    raise UserError(
        f"{path} must be the receipt of a training, format version 1. Received: {problem[:200]}. If it is damaged, restore it "
        "or give another run with --run."
    )
