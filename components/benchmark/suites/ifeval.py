"""IFEval: instructions whose following can be checked (Zhou et al. 2023, arXiv 2311.07911)."""

import json
from collections.abc import Iterator
from pathlib import Path

from components.benchmark.suites.suite import Suite, Task, read_json_lines


class IfEval(Suite):
    """JSON Lines of `key`, `prompt`, `instruction_id_list` and `kwargs`."""

    metrics = [{"name": "ifeval", "instructions": "instruction_id_list", "arguments": "kwargs"}]
    delimiter = "\n"
    max_new_tokens = 512

    def read(self, path: Path) -> Iterator[Task]:
        """See `Suite`."""
        for record in read_json_lines(path, ("prompt",), ("instruction_id_list", "kwargs")):
            columns = {name: json.dumps(record[name]) for name in ("instruction_id_list", "kwargs")}
            yield Task(prompt=record["prompt"], columns=columns)
