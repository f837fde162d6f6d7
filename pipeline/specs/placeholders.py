"""The placeholders in commands of a compiled pipeline, filled in as its backend does.

The names are those of PipelineSpec: https://www.kubeflow.org/docs/components/pipelines/ (kfp 2.16 writes them).
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from components.errors import UserError

_PLACEHOLDER = re.compile(r"\{\{\$(?P<path>[^{}]*)\}\}")
_STEP = re.compile(r"\.(?P<name>\w+)|\['(?P<key>[^']*)'\]")
# What kfp calls otherwise than ExecutorInput does.
_NAMES = {"output_file": "outputFile"}


def fill(text: str, executor_input: Mapping[str, Any], job: Mapping[str, str]) -> str:
    """Returns a text with its placeholders filled in.

    Args:
        text: A command, an argument, or the value of a parameter.
        executor_input: ExecutorInput: what `{{$}}` is, and what paths such as `.inputs.parameters['x']` lead into.
        job: What stands for the job as a whole: `pipeline_job_uuid` and so on.

    Raises:
        UserError: If a placeholder leads nowhere.
    """

    def replace(match: re.Match[str]) -> str:
        path = match["path"]
        if not path:
            return json.dumps(executor_input)
        if path.removeprefix(".") in job:
            return job[path.removeprefix(".")]
        return _look_up(path, executor_input)

    return _PLACEHOLDER.sub(replace, text)


def _look_up(path: str, executor_input: Mapping[str, Any]) -> str:
    steps = [match["name"] or match["key"] for match in _STEP.finditer(path)]
    value: Any = executor_input
    for i, step in enumerate(steps):
        names = {"parameters": "parameterValues"} if i == 1 and steps[0] == "inputs" else _NAMES
        # Of an artifact, the first one of its list is meant.
        if isinstance(value, Mapping) and set(value) == {"artifacts"} and i > 2:
            value = value["artifacts"][0] if value["artifacts"] else {}
        found = value.get(names.get(step, step)) if isinstance(value, Mapping) else None
        if found is None:
            raise UserError(f"the placeholder {{{{${path}}}}} leads nowhere: this task has no {step!r}.")
        value = found
    return value if isinstance(value, str) else json.dumps(value)
