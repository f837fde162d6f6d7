"""Runs a compiled pipeline on this machine: every task as a process of its own, by the very command that its cluster runs.

Nothing here imports TFX: what the tasks share with each other and with this process is files.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from components import runtime
from components.errors import UserError
from pipeline.code_hash import REPOSITORY_ROOT
from pipeline.execution.run_display import RunDisplay
from pipeline.execution.task_graph import RunningTasks, run_tasks
from pipeline.specs import placeholders
from pipeline.specs.artifact_registry import ArtifactRegistry
from pipeline.specs.tasks import Artifacts, SpecRun, get_title

_INPUT_METADATA = re.compile(r"\{\{\$\.inputs\.artifacts\['(.+?)'\]\.metadata\['(.+?)'\]\}\}")
# Libraries that would look for something on the network are told not to.
_OFFLINE = {"HF_HUB_OFFLINE": "1", "NO_GCE_CHECK": "true"}


class TaskFailedError(Exception):
    """A task ended with another exit code than 0."""


@dataclass(frozen=True, kw_only=True)
class SpecResult:
    """A finished run of a spec.

    Attributes:
        run_id: Its id.
        outputs: Artifacts by task and key: `name`, `uri`, `metadata`, `title`, `task`, `run`, `state`.
        skipped: The tasks that a condition has left out.
    """

    run_id: str
    outputs: dict[str, Artifacts]
    skipped: frozenset[str]


def run_spec(
    spec: Mapping[str, Any],
    parameters: Mapping[str, Any],
    root: Path,
    run_id: str,
    max_parallel: int,
    console: Console,
    environment: Mapping[str, str] | None = None,
) -> SpecResult:
    """Runs every task of a spec, but for those whose conditions are not met, in the order of their dependencies.

    Args:
        spec: PipelineSpec.
        parameters: A value for every parameter of the pipeline.
        root: Folder of all runs: `runs/<run id>/<task>`, and `artifacts.json`, in which resolvers look.
        run_id: The run's id.
        max_parallel: How many tasks may run at the same time.
        console: Where a line for each task goes.
        environment: Further variables of the tasks, as secrets would be on the cluster.

    Raises:
        TaskFailedError: If a task fails.
        UserError: If the spec has what cannot be run here.
    """
    root = root.resolve()
    run = SpecRun(spec=spec, parameters=parameters, run_id=run_id, folder=root / "runs" / run_id)
    registry = ArtifactRegistry(root / "artifacts.json")
    variables = _make_environment(environment or {})
    display = RunDisplay(console)
    running = RunningTasks()
    for task in run.tasks:
        run.get_executor(task)

    def run_one(task: str) -> None:
        line = display.start(run.tasks[task].title)
        try:
            if run.is_skipped(task):
                line.end("[dim]-[/]", "skipped")
                return
            _run_task(run, task, registry, variables, running)
        except BaseException:
            line.end("[red]✗[/]")
            raise
        finally:
            running.remove(task)
        line.end("[green]✓[/]")

    with display.live():
        failed = run_tasks(run.list_upstream(), run_one, max_parallel, running.stop_all)
    for error in failed.values():
        raise error
    return SpecResult(run_id=run_id, outputs=run.outputs, skipped=frozenset(run.skipped))


def _run_task(
    run: SpecRun, task: str, registry: ArtifactRegistry, variables: Mapping[str, str], running: RunningTasks
) -> None:
    executor = run.get_executor(task)
    if "resolver" in executor:
        run.outputs[task] = _resolve(run, task, executor["resolver"], registry)
        return
    if "container" not in executor:
        raise UserError(f"{task} is of a kind that cannot be run here: {', '.join(executor)}.")
    container = executor["container"]
    folder = run.folder / task
    folder.mkdir(parents=True, exist_ok=True)
    executor_input = run.make_executor_input(task)
    output_file = Path(executor_input["outputs"]["outputFile"])
    for place in executor_input["outputs"]["parameters"].values():
        Path(place["outputFile"]).parent.mkdir(parents=True, exist_ok=True)
    if check := container.get("lifecycle", {}).get("preCacheCheck"):
        _call(run, task, "driver", check, executor_input, variables, running)
        # What the driver says of the artifacts, the backend merges into them before the executor starts.
        for key, found in json.loads(output_file.read_text(encoding="utf-8")).get("artifacts", {}).items():
            metadata = found["artifacts"][0].get("metadata", {})
            executor_input["outputs"]["artifacts"][key]["artifacts"][0]["metadata"] |= metadata
    _call(run, task, "executor", container, executor_input, variables, running)
    # A container that has no outputs writes no file.
    written = json.loads(output_file.read_text(encoding="utf-8")) if output_file.is_file() else {}
    run.values[task] = written.get("parameterValues", {}) | run.read_values(task, executor_input)
    run.outputs[task] = _read_outputs(run, task, executor_input, written)
    registry.add([row for rows in run.outputs[task].values() for row in rows])


def _resolve(run: SpecRun, task: str, resolver: Mapping[str, Any], registry: ArtifactRegistry) -> Artifacts:
    found: Artifacts = {}
    for key, query in resolver["outputArtifactQueries"].items():
        is_known = True

        def replace(match: re.Match[str]) -> str:
            nonlocal is_known
            artifacts = run.find_input(run.tasks[task].artifacts[match[1]])
            is_known = is_known and bool(artifacts) and match[2] in artifacts[0]["metadata"]
            return str(artifacts[0]["metadata"][match[2]]) if is_known else ""

        condition = _INPUT_METADATA.sub(replace, query["filter"])
        found[key] = registry.query(condition) if is_known else []
    return found


def _call(
    run: SpecRun,
    task: str,
    what: str,
    container: Mapping[str, Any],
    executor_input: Mapping[str, Any],
    variables: Mapping[str, str],
    running: RunningTasks,
) -> None:
    words = [*container.get("command", []), *container.get("args", [])]
    command = [placeholders.fill(word, executor_input, run.job) for word in words]
    log_path = run.folder / task / f"{what}.log"
    with log_path.open("wb") as log:
        # The image's working directory is the repository's root.
        process = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=variables, cwd=REPOSITORY_ROOT
        )
        running.add(task, process.terminate)
        exit_code = process.wait()
    if exit_code:
        last = log_path.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
        raise TaskFailedError(f"{task}: its {what} ended with {exit_code}. Log: {log_path}\n{''.join(last)[:500]}")


def _read_outputs(run: SpecRun, task: str, executor_input: Mapping[str, Any], written: Mapping[str, Any]) -> Artifacts:
    outputs: Artifacts = {}
    for key, declared in executor_input["outputs"]["artifacts"].items():
        (wanted,) = declared["artifacts"]
        found = written.get("artifacts", {}).get(key, {}).get("artifacts", [{}])
        outputs[key] = [
            {
                "name": artifact.get("name") or wanted["name"],
                "uri": artifact.get("uri") or wanted["uri"],
                "metadata": {**wanted["metadata"], **artifact.get("metadata", {})},
                "title": get_title(wanted["type"]),
                "task": task,
                "run": run.run_id,
                "state": "LIVE",
            }
            for artifact in found
        ]
    return outputs


def _make_environment(more: Mapping[str, str]) -> dict[str, str]:
    """Returns the variables that a container would have: the image's, and nothing of this process's but its place."""
    here = ("HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "TF_CPP_MIN_LOG_LEVEL")
    return {
        **{name: os.environ[name] for name in here if name in os.environ},
        **runtime.DEFAULTS,
        **_OFFLINE,
        # `python` of the commands is the image's environment.
        "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}",
        "PYTHONPATH": str(REPOSITORY_ROOT),
        "PYTHONUNBUFFERED": "1",
        **more,
    }
