"""BBQ: social bias in answering questions (Parrish et al. 2022, arXiv 2110.08193)."""

from collections.abc import Iterator
from pathlib import Path

from components.benchmark.suites.suite import Suite, Task, read_json_lines
from components.errors import UserError


class Bbq(Suite):
    """JSON Lines of `context`, `question`, `ans0` to `ans2` and `label`; the model chooses among the answers' texts."""

    metrics = [{"name": "multiple_choice", "column": "choices", "end_token": False}]
    slice_columns = ("category", "context_condition", "question_polarity")

    def read(self, path: Path) -> Iterator[Task]:
        """See `Suite`."""
        texts = ("context", "question", "ans0", "ans1", "ans2", "context_condition", "question_polarity")
        for record in read_json_lines(path, texts, ("label",)):
            if type(record["label"]) is not int or not 0 <= record["label"] <= 2:
                raise UserError(f"{path}: each label must be 0, 1 or 2. Received: {record['label']!r}.")
            yield Task(
                prompt=f"{record['context']}\n\nQuestion: {record['question']}\nAnswer:",
                choices=tuple(record[f"ans{i}"] for i in range(3)),
                answers=(record["label"],),
                slices={
                    "category": str(record.get("category") or "") or path.name.partition(".")[0],
                    "context_condition": record["context_condition"],
                    "question_polarity": record["question_polarity"],
                },
            )
