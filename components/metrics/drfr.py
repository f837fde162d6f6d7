"""DRFR: the share of decomposed requirements that is met."""

import dataclasses
import json

import numpy as np

from components.errors import UserError
from components.metrics.ifeval import follows_or_raise
from components.metrics.metric import Metric, Prediction, Sums, divide


@dataclasses.dataclass(frozen=True, kw_only=True)
class Drfr(Metric):
    """Decomposed requirements following ratio: requirements met by all requirements, over all examples together.

    Qin et al., *InFoBench: Evaluating Instruction Following Ability in Large Language Models*, arXiv 2401.03601. There a judge
    answers each requirement with yes or no; here a program does. An example without requirements counts for nothing.

    Attributes:
        column: the column that holds each example's requirements: a list of objects as JSON, in which `check` names a
            constraint (see `constraints.py`) and the other keys are its arguments.
    """

    column: str = "requirements"

    def __post_init__(self) -> None:
        """Checks the option.

        Raises:
            ValueError: it is no name of a column.
        """
        if not (isinstance(self.column, str) and self.column):
            raise ValueError(f"`column` must be the name of a column. Received: {self.column!r}")

    def needed_columns(self) -> tuple[str, ...]:
        """See `Metric`."""
        return (self.column,)

    def directions(self) -> dict[str, bool | None]:
        """See `Metric`."""
        return {"drfr": True}

    def count(self, prediction: Prediction) -> dict[str, float]:
        """See `Metric`."""
        requirements = self._parse(prediction.columns[self.column])
        met = [
            follows_or_raise(
                prediction.completion,
                requirement["check"],
                {key: value for key, value in requirement.items() if key != "check"},
            )
            for requirement in requirements
        ]
        return {"met": float(sum(met)), "requirements": float(len(met))}

    def finish(self, sums: Sums) -> dict[str, np.ndarray]:
        """See `Metric`."""
        return {"drfr": divide(sums["met"], sums["requirements"])}

    def _parse(self, text: str) -> list[dict]:
        try:
            value = json.loads(text or "[]")
        except ValueError:
            value = None
        if not (isinstance(value, list) and all(isinstance(item, dict) and "check" in item for item in value)):
            raise UserError(
                f"the column `{self.column}`, which drfr reads, must hold a list of objects with the key `check`, as JSON. "
                f"Received: {text[:200]!r}."
            )
        return value
