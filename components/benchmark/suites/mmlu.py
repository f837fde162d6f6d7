"""MMLU: multiple choice in 57 subjects (Hendrycks et al. 2021, arXiv 2009.03300)."""

from collections.abc import Iterator
from pathlib import Path

from components.benchmark.suites.suite import Suite, Task, read_csv
from components.errors import UserError

_LETTERS = "ABCD"
_HEADER = ["question", "choice0", "choice1", "choice2", "choice3", "answer"]


class Mmlu(Suite):
    """CSV of question, four choices and the answer, a letter or a number from 0; one file a subject.

    The model chooses among the letters. The first row may be a header.
    """

    metrics = [{"name": "multiple_choice", "choices": list(_LETTERS), "end_token": False}]
    slice_columns = ("subject",)
    suffixes = (".csv",)

    def read(self, path: Path) -> Iterator[Task]:
        """See `Suite`."""
        subject = path.name.partition(".")[0]
        for ending in ("_test", "_dev", "_val"):
            subject = subject.removesuffix(ending)
        for number, row in read_csv(path):
            if not row or row == _HEADER:
                continue
            if len(row) != len(_HEADER):
                raise UserError(f"{path}, row {number} must have {len(_HEADER)} columns. Received: {len(row)}.")
            question, *choices, answer = row
            places = dict(zip((*_LETTERS, *"0123"), (*range(4), *range(4)), strict=True))
            if (place := places.get(answer.strip())) is None:
                raise UserError(
                    f"{path}, row {number}: the answer must be A to D or 0 to 3. Received: {answer[:50]!r}."
                )
            lines = [f"{letter}. {choice}" for letter, choice in zip(_LETTERS, choices, strict=True)]
            yield Task(
                prompt="\n".join([question.strip(), *lines, "Answer:"]),
                choices=tuple(_LETTERS),
                answers=(place,),
                slices={"subject": subject},
            )

    def introduce(self, task: Task) -> str:
        """See `Suite`."""
        subject = task.slices["subject"].replace("_", " ")
        return f"The following are multiple choice questions (with answers) about {subject}."
