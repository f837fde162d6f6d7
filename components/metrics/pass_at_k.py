"""Pass@k: whether one of k programs passes its tests."""

import dataclasses
import functools
from math import comb

import numpy as np

from components.errors import UserError
from components.metrics.metric import Metric, Prediction, Sums, divide
from components.metrics.sandbox import run_program

COMPLETION_MARK = "{{completion}}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class PassAtK(Metric):
    """Probability that of k completions at least one makes a program that ends without error.

    Chen et al., *Evaluating Large Language Models Trained on Code*, arXiv 2107.03374: estimated from the n completions that
    there are, c of which pass, as 1 - C(n - c, k) / C(n, k). With n = 1 it is the share of programs that pass.

    The programs are what a model has written. Each runs in a process of its own (see `sandbox.py`).

    Attributes:
        column: the column that holds the program, tests included, with `{{completion}}` where the completion goes.
        k: the k's; an example with fewer completions counts for the smaller ones alone.
        seconds: that a program may take.
        memory_mib: that it may take.
        allow_code_execution: must be true.
    """

    column: str
    k: list[int] = dataclasses.field(default_factory=lambda: [1])
    seconds: int = 5
    memory_mib: int = 512
    allow_code_execution: bool = False

    def __post_init__(self) -> None:
        """Checks the options.

        Raises:
            ValueError: one is out of range, or code may not be executed.
        """
        if not (isinstance(self.column, str) and self.column):
            raise ValueError(f"`column` must be the name of a column. Received: {self.column!r}")
        if not (isinstance(self.k, list) and self.k and all(type(k) is int and k >= 1 for k in self.k)):
            raise ValueError(f"`k` must be a list of whole numbers of at least 1. Received: {self.k!r}")
        for name, least in (("seconds", 1), ("memory_mib", 64)):
            if not (type(value := getattr(self, name)) is int and value >= least):
                raise ValueError(f"`{name}` must be a whole number of at least {least}. Received: {value!r}")
        if self.allow_code_execution is not True:
            raise ValueError(
                "`allow_code_execution` must be true: pass_at_k runs programs that a model has written. They have limits and "
                f"no network, but run on the machines that evaluate. Received: {self.allow_code_execution!r}"
            )

    def needed_columns(self) -> tuple[str, ...]:
        """See `Metric`."""
        return (self.column,)

    def directions(self) -> dict[str, bool | None]:
        """See `Metric`."""
        return {f"pass_at_{k}": True for k in self.k}

    def count(self, prediction: Prediction) -> dict[str, float]:
        """See `Metric`."""
        program = prediction.columns[self.column]
        if COMPLETION_MARK not in program:
            raise UserError(
                f"the column `{self.column}`, which pass_at_k reads, must hold a program with {COMPLETION_MARK} in it. "
                f"Received: {program[:200]!r}."
            )
        passed = [
            _run_once(program.replace(COMPLETION_MARK, completion), self.seconds, self.memory_mib)
            for completion in prediction.completions
        ]
        total, wrong = len(passed), passed.count(False)
        counts: dict[str, float] = {}
        for k in self.k:
            if k <= total:
                counts |= {f"examples_{k}": 1.0, f"pass_at_{k}": 1.0 - comb(wrong, k) / comb(total, k)}
        return counts

    def finish(self, sums: Sums) -> dict[str, np.ndarray]:
        """See `Metric`."""
        return {f"pass_at_{k}": divide(sums[f"pass_at_{k}"], sums[f"examples_{k}"]) for k in self.k}


@functools.lru_cache(maxsize=4096)  # every slice asks again
def _run_once(program: str, seconds: int, memory_mib: int) -> bool:
    return run_program(program, seconds=seconds, memory_mib=memory_mib)
