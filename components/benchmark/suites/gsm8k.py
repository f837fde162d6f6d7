"""GSM8K: word problems (Cobbe et al. 2021, arXiv 2110.14168)."""

from collections.abc import Iterator
from pathlib import Path

from components.benchmark.suites.suite import Suite, Task, read_json_lines


class Gsm8k(Suite):
    """JSON Lines of `question` and `answer`, whose number stands behind `####`."""

    metrics = [{"name": "number_match"}]
    max_new_tokens = 256
    stop = ("\n\nQuestion:",)

    def read(self, path: Path) -> Iterator[Task]:
        """See `Suite`."""
        for record in read_json_lines(path, ("question", "answer")):
            yield Task(
                prompt=f"Question: {record['question'].strip()}\nAnswer:", references=(record["answer"].strip(),)
            )
