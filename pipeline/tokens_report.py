"""The report of a cut as `report.json` holds it, checked when it is read."""

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from components.damage import describe_damage
from components.errors import UserError

REPORT_FILE = "report.json"


class _Part(BaseModel):
    # A later version may say more: what is not known here is kept for --json.
    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)


class Token(_Part):
    """A response token. Its influence is the base model's loss minus the reference model's, in nats."""

    text: str
    influence: float | None
    kept: bool


class Example(_Part):
    """A training example with its response tokens in order."""

    example_id: str
    slices: dict[str, str] = {}
    prompt: str
    tokens: list[Token]


class Bin(_Part):
    """Response tokens whose influence is in [`low`, `low` + bin width)."""

    low: float
    kept: int
    dropped: int


class Influence(_Part):
    """The distribution of influence; only bins that hold a token, lowest first."""

    min: float | None = None
    max: float | None = None
    mean: float | None = None
    bin_width: float = Field(gt=0)
    bins: list[Bin] = []

    @property
    def num_tokens(self) -> int:
        """Tokens that have an influence."""
        return sum(part.kept + part.dropped for part in self.bins)

    def quantile(self, share: float) -> float:
        """Returns the influence below which `share` of the tokens lie, exact to a part of a bin."""
        left = share * self.num_tokens
        for part in self.bins:
            count = part.kept + part.dropped
            if count and left <= count:
                return part.low + self.bin_width * left / count
            left -= count
        return self.bins[-1].low + self.bin_width if self.bins else 0.0


class SliceCounts(_Part):
    """Counts over the examples of one slice."""

    examples: int
    response_tokens: int
    kept_tokens: int


class TokenCounts(_Part):
    """How often a token of the vocabulary was dropped and kept."""

    token_id: int
    text: str
    dropped: int
    kept: int


class FrequentTokens(_Part):
    """The tokens dropped most often and kept most often, most frequent first."""

    dropped: list[TokenCounts]
    kept: list[TokenCounts]


class Report(_Part):
    """The report of one round. `report.json` holds these keys."""

    format_version: Literal[1]
    strategy: str
    scope: str
    keep: float
    round: int
    base: str
    reference: str
    num_examples: int
    num_examples_without_target: int
    num_response_tokens: int
    num_kept_tokens: int
    kept_share: float
    threshold: float | None
    rank_error_bound: float | None
    num_tied_at_threshold: int | None
    influence: Influence
    slices: dict[str, dict[str, SliceCounts]]
    tokens: FrequentTokens
    examples: list[Example]
    source: dict[str, Any]

    @property
    def has_influence(self) -> bool:
        """False for the control arm: its numbers are drawn at random, no model has scored its tokens."""
        return self.strategy != "random" and self.influence.num_tokens > 0


def read_report(folder: str) -> Report:
    """Returns the report in a folder.

    Raises:
        UserError: There is none, or it is damaged.
    """
    path = Path(folder) / REPORT_FILE
    try:
        return Report.model_validate(json.loads(path.read_bytes()))
    except OSError as error:
        raise UserError(
            f"The metadata store names a report that cannot be read: {path} ({error.strerror}). Its folder must stay where "
            "the run wrote it: put it back, or give another run with --run."
        ) from error
    except ValueError as error:
        problem = describe_damage(error)
    raise UserError(
        f"{path} must be a report of token cleaning, format version 1. Received: {problem[:200]}. If it is damaged, "
        "restore it or give another run with --run."
    )
