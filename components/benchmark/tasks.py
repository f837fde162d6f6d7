"""The tasks of a benchmark: chosen, with their examples, as records."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from components.benchmark.suites.suite import Suite, Task
from components.errors import UserError
from components.text import features

SHOT_SEPARATOR = "\n\n"


def select_tasks(suite: Suite, benchmark: Mapping[str, Any]) -> list[Task]:
    """Returns the tasks of a benchmark, at most `limit`: a sample that depends on `seed` and the tasks alone.

    Raises:
        UserError: There are none, or a file is not what it must be.
    """
    tasks = _read(suite, benchmark["data"])
    if not tasks:
        raise UserError(f"the files of a benchmark must hold tasks. Received: none in {benchmark['data']}.")
    if benchmark["limit"] is not None:
        tasks = sorted(tasks, key=lambda task: _rank(task, benchmark["seed"]))[: benchmark["limit"]]
    return tasks


def select_shots(suite: Suite, benchmark: Mapping[str, Any]) -> dict[tuple[str, ...], list[Task]]:
    """Returns the solved examples by the value of the first slice column, in the files' order; for each at most `shots`.

    Where the suite has slices, an example is of the same one as the task (MMLU: of the same subject).

    Raises:
        UserError: There are fewer than `shots`, or the benchmark gives no answers.
    """
    if not benchmark["shots"]:
        return {}
    found: dict[tuple[str, ...], list[Task]] = {}
    for task in _read(suite, benchmark["shots_from"]):
        if task.answer is None:
            raise UserError("--shots needs tasks that are solved, which this benchmark's are not. Set --shots 0.")
        shots = found.setdefault(_group(suite, task), [])
        if len(shots) < benchmark["shots"]:
            shots.append(task)
    for group, shots in found.items():
        if len(shots) < benchmark["shots"]:
            where = f" of {' '.join(group)}" if group else ""
            raise UserError(
                f"--shots-from must hold at least {benchmark['shots']} examples{where}. Received: {len(shots)} in "
                f"{benchmark['shots_from']}. Lower --shots."
            )
    return found


def make_record(suite: Suite, task: Task, shots: Mapping[tuple[str, ...], Sequence[Task]]) -> tf.train.Example:
    """Returns a task as an example for a model.

    Raises:
        UserError: There are no solved examples for it.
    """
    group = _group(suite, task)
    if shots and group not in shots:
        raise UserError(
            f"--shots-from must hold examples of {' '.join(group)}. Received: none. Add them, or set --shots 0."
        )
    solved = [f"{shot.prompt}{suite.delimiter}{shot.answer}" for shot in shots.get(group, ()) if shot != task]
    parts = [suite.introduce(task), *solved, task.prompt]
    record = tf.train.Example()
    values = record.features.feature
    texts = {
        features.EXAMPLE_ID: [task.example_id],
        features.PROMPT: [SHOT_SEPARATOR.join(filter(None, parts))],
        features.RESPONSE: task.references or [""],
        features.CHOICES: task.choices,
        **{name: [text] for name, text in {**task.slices, **task.columns}.items()},
    }
    for name, found in texts.items():
        values[name].bytes_list.value[:] = [text.encode("utf-8", "replace") for text in found]
    values[features.CHOICE_ANSWERS].int64_list.value[:] = task.answers
    return record


def cut_at(text: str, stop: Iterable[str]) -> str:
    """Returns `text` up to the first of the texts that end it."""
    return text[: min((place for end in stop if (place := text.find(end)) >= 0), default=len(text))]


def _read(suite: Suite, path: str) -> list[Task]:
    return [task for file in suite.list_files(path) for task in suite.read(file)]


def _group(suite: Suite, task: Task) -> tuple[str, ...]:
    return tuple(task.slices[column] for column in suite.slice_columns[:1])


def _rank(task: Task, seed: int) -> bytes:
    return hashlib.blake2b(f"{seed}\0{task.example_id}".encode(), digest_size=16).digest()
