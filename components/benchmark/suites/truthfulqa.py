"""TruthfulQA: questions that people answer falsely (Lin et al. 2022, arXiv 2109.07958), by multiple choice."""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from components.benchmark.suites.suite import Suite, Task, check, read_json
from components.errors import UserError


class _TruthfulQa(Suite):
    """A JSON list of `question` and targets: answer to 1 (true) or 0, as in the benchmark's `mc_task.json`."""

    metrics = [{"name": "multiple_choice", "column": "choices", "end_token": False}]
    suffixes = (".json",)
    key: ClassVar[str]

    def read(self, path: Path) -> Iterator[Task]:
        """See `Suite`."""
        records = read_json(path)
        if not isinstance(records, list):
            raise UserError(f"{path} must hold a list of questions. Received: {type(records).__name__}.")
        for record in records:
            targets = check(record, ("question",), str(path), (self.key,))[self.key]
            if not isinstance(targets, dict) or 1 not in targets.values():
                raise UserError(f"{path}: `{self.key}` must map answers to 0 and 1, at least one of them to 1.")
            yield Task(
                prompt=f"Q: {record['question'].strip()}\nA:",
                choices=tuple(targets),
                answers=tuple(place for place, value in enumerate(targets.values()) if value == 1),
            )


class TruthfulQaMc1(_TruthfulQa):
    """One of the answers is true: see `choice_accuracy`."""

    key = "mc1_targets"


class TruthfulQaMc2(_TruthfulQa):
    """Several of the answers are true: see `choice_mass`."""

    key = "mc2_targets"
