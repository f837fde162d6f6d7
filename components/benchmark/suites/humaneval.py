"""HumanEval: Python functions to be written (Chen et al. 2021, arXiv 2107.03374)."""

from collections.abc import Iterator
from pathlib import Path

from components.benchmark.suites.suite import Suite, Task, read_json_lines
from components.metrics.pass_at_k import COMPLETION_MARK


class HumanEval(Suite):
    """JSON Lines of `prompt`, `test` and `entry_point`; what the model writes is run."""

    metrics = [{"name": "pass_at_k", "column": "program", "allow_code_execution": True}]
    delimiter = ""
    max_new_tokens = 384
    stop = ("\nclass", "\ndef", "\n#", "\nif", "\nprint", "\n@")
    runs_code = True

    def read(self, path: Path) -> Iterator[Task]:
        """See `Suite`."""
        for record in read_json_lines(path, ("task_id", "prompt", "test", "entry_point", "canonical_solution")):
            test = f"{record['test']}\n\ncheck({record['entry_point']})\n"
            program = f"{record['prompt']}{COMPLETION_MARK}\n\n{test}"
            yield Task(
                prompt=record["prompt"], references=(record["canonical_solution"],), columns={"program": program}
            )
