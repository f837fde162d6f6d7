"""IFEval: whether instructions that a program can check are followed."""

import dataclasses
import json

import numpy as np

from components.errors import UserError
from components.metrics.constraints import follows
from components.metrics.metric import Metric, Prediction, Sums, divide


@dataclasses.dataclass(frozen=True, kw_only=True)
class IfEval(Metric):
    """Shares of the prompts all of whose instructions are followed, and of the instructions that are.

    Zhou et al., *Instruction-Following Evaluation for Large Language Models*, arXiv 2311.07911. *Loose* accepts a completion
    that follows an instruction without its first line, its last line, or the asterisks of Markdown, or several of these.

    Attributes:
        instructions: the column that holds a list of constraints by name (see `constraints.py`), as JSON.
        arguments: the column that holds a list of their arguments, as JSON.
    """

    instructions: str = "instruction_id_list"
    arguments: str = "kwargs"

    def __post_init__(self) -> None:
        """Checks the options.

        Raises:
            ValueError: one is no name of a column.
        """
        for name in ("instructions", "arguments"):
            if not (isinstance(value := getattr(self, name), str) and value):
                raise ValueError(f"`{name}` must be the name of a column. Received: {value!r}")

    def needed_columns(self) -> tuple[str, ...]:
        """See `Metric`."""
        return (self.instructions, self.arguments)

    def directions(self) -> dict[str, bool | None]:
        """See `Metric`."""
        return {f"ifeval_{of}_{how}": True for of in ("prompt", "instruction") for how in ("strict", "loose")}

    def count(self, prediction: Prediction) -> dict[str, float]:
        """See `Metric`."""
        names, arguments = (_parse(prediction, column) for column in (self.instructions, self.arguments))
        if len(names) != len(arguments):
            raise UserError(
                f"`{self.instructions}` and `{self.arguments}` must be lists of the same length. Received: {len(names)} and "
                f"{len(arguments)}, for {prediction.prompt[:100]!r}."
            )
        counts = {"prompts": 1.0, "instructions": float(len(names))}
        for how, texts in (("strict", [prediction.completion]), ("loose", _loosen(prediction.completion))):
            followed = []
            for name, given in zip(names, arguments, strict=True):
                if not isinstance(given, dict | None):
                    raise UserError(f"`{self.arguments}` must hold objects or nulls. Received: {given!r}.")
                # Data sets give every instruction all keys; null stands for no argument.
                needed = {key: value for key, value in (given or {}).items() if value is not None}
                followed.append(any(follows_or_raise(text, name, needed) for text in texts))
            counts[f"prompt_{how}"] = float(all(followed))
            counts[f"instruction_{how}"] = float(sum(followed))
        return counts

    def finish(self, sums: Sums) -> dict[str, np.ndarray]:
        """See `Metric`."""
        return {
            f"ifeval_{of}_{how}": divide(sums[f"{of}_{how}"], sums[f"{of}s"])
            for of in ("prompt", "instruction")
            for how in ("strict", "loose")
        }


def follows_or_raise(text: str, name: str, arguments: dict) -> bool:
    """`constraints.follows`, with an error for whoever made the data."""
    try:
        return follows(text, name, arguments)
    except ValueError as error:
        raise UserError(f"the data must hold constraints that are known: {error}.") from error


def _loosen(text: str) -> list[str]:
    lines = text.split("\n")
    parts = [lines, lines[1:], lines[:-1], lines[1:-1]]
    texts = ["\n".join(part).strip() if part is not lines else text for part in parts]
    return [*texts, *(part.replace("*", "") for part in texts)]


def _parse(prediction: Prediction, column: str) -> list:
    text = prediction.columns[column]
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, list):
        raise UserError(
            f"the column `{column}`, which ifeval reads, must hold a list as JSON. Received: {text[:200]!r}."
        )
    return value
