"""The ways to choose a token, as a run's YAML names them, with their options. Without TensorFlow."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from components import options as option_tables


class Sampler:
    """One of `SAMPLERS`: a frozen keyword-only dataclass whose fields are its YAML options."""


@dataclass(frozen=True, kw_only=True)
class Greedy(Sampler):
    """The most probable token."""


@dataclass(frozen=True, kw_only=True)
class TopK(Sampler):
    """A draw from the `k` most probable tokens (Fan et al. 2018).

    Attributes:
        k: how many.
        temperature: what logits are divided by.
    """

    k: int = 40
    temperature: float = 1.0

    def __post_init__(self) -> None:
        """Checks the options."""
        if not (type(self.k) is int and self.k >= 1):
            raise ValueError(f"must be a whole number of at least 1. Received: {self.k!r}.")
        _check_temperature(self.temperature)


@dataclass(frozen=True, kw_only=True)
class TopP(Sampler):
    """A draw from the smallest set of most probable tokens that together have probability `p` (Holtzman et al. 2020).

    Attributes:
        p: the probability; 1 is a draw from all tokens.
        temperature: what logits are divided by, before.
    """

    p: float = 0.95
    temperature: float = 1.0

    def __post_init__(self) -> None:
        """Checks the options."""
        if isinstance(self.p, bool) or not (isinstance(self.p, int | float) and 0 < self.p <= 1):
            raise ValueError(f"must be a number above 0 and at most 1. Received: {self.p!r}.")
        _check_temperature(self.temperature)


@dataclass(frozen=True, kw_only=True)
class Beam(Sampler):
    """The most probable of the sequences that beam search finds, by KerasHub.

    Attributes:
        beams: sequences that are kept at a time.
    """

    beams: int = 4

    def __post_init__(self) -> None:
        """Checks the options."""
        if not (type(self.beams) is int and self.beams >= 2):
            raise ValueError(f"must be a whole number of at least 2. Received: {self.beams!r}.")


SAMPLERS: dict[str, type[Sampler]] = {"greedy": Greedy, "top_k": TopK, "top_p": TopP, "beam": Beam}
GREEDY = Greedy()


def find_option_problems(name: str, options: Mapping[str, Any]) -> dict[str, str]:
    """See `components.options.find_option_problems`."""
    return option_tables.find_option_problems(SAMPLERS, "sampler", name, options)


def make_sampler(section: Mapping[str, Any]) -> Sampler:
    """Makes the sampler of a run's `generation.sampler`: `name` and options.

    Raises:
        ValueError: the sampler or an option is unknown, or a value is out of range; all problems in one message.
    """
    options = {key: value for key, value in section.items() if key != "name"}
    return option_tables.make_entry(SAMPLERS, "sampler", section["name"], options)


def _check_temperature(value: Any) -> None:
    if isinstance(value, bool) or not (isinstance(value, int | float) and value > 0):
        raise ValueError(f"must be a number above 0. Received: {value!r}.")
