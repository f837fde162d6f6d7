"""Runs tasks in the order of their dependencies, independent ones side by side."""

import concurrent.futures
import threading
from collections.abc import Callable, Mapping, Sequence


def run_tasks(
    upstream: Mapping[str, Sequence[str]],
    run_task: Callable[[str], None],
    max_parallel: int,
    on_stop: Callable[[], None] = lambda: None,
) -> dict[str, Exception]:
    """Runs every task once all that it waits for have ended well.

    After a failure no other task is started; those that run are waited for, since what they finish need not be done again.

    Args:
        upstream: The tasks, and for each those that it waits for. Of several that could start, the one that most others wait
            for does.
        run_task: Runs a task in a thread of its own; raises if it fails.
        max_parallel: How many may run at the same time.
        on_stop: Is called once if this call is left by an exception (a signal); must make the running tasks end.

    Returns:
        What failed, in order of time; empty if nothing did.

    Raises:
        ValueError: If tasks wait for each other in a circle, or for one that does not exist.
    """
    _check_graph(upstream)
    weight = {task: _count_descendants(task, upstream) for task in upstream}
    waiting = sorted(upstream, key=lambda task: -weight[task])
    done: set[str] = set()
    failed: dict[str, Exception] = {}
    running: dict[concurrent.futures.Future[None], str] = {}
    with concurrent.futures.ThreadPoolExecutor(max_parallel) as pool:
        try:
            while True:
                ready = [task for task in waiting if done.issuperset(upstream[task])]
                for task in ready[: max_parallel - len(running)] if not failed else []:
                    waiting.remove(task)
                    running[pool.submit(run_task, task)] = task
                if not running:
                    return failed
                finished, _ = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
                for future in finished:
                    task = running.pop(future)
                    error = future.exception()
                    if isinstance(error, Exception):
                        failed[task] = error
                    elif error is not None:
                        raise error
                    else:
                        done.add(task)
        except BaseException:
            on_stop()
            raise


def _check_graph(upstream: Mapping[str, Sequence[str]]) -> None:
    placed: set[str] = set()
    while len(placed) < len(upstream):
        layer = {task for task, before in upstream.items() if task not in placed and placed.issuperset(before)}
        if not layer:
            left = ", ".join(sorted(set(upstream) - placed))
            raise ValueError(f"tasks must not wait for each other in a circle, nor for one that is not there: {left}")
        placed |= layer


def _count_descendants(task: str, upstream: Mapping[str, Sequence[str]]) -> int:
    found: set[str] = set()
    pending = [task]
    while pending:
        current = pending.pop()
        following = {other for other, before in upstream.items() if current in before} - found
        found |= following
        pending += following
    return len(found)


class RunningTasks:
    """The handles of what runs, so that all of it can be told to stop; safe between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stops: dict[str, Callable[[], None]] = {}
        self._stopped = False

    def add(self, task: str, stop: Callable[[], None]) -> None:
        """Registers a task by the function that stops it; calls it at once if all were told to stop already."""
        with self._lock:
            self._stops[task] = stop
            stopped = self._stopped
        if stopped:
            stop()

    def remove(self, task: str) -> None:
        """Forgets a task that has ended."""
        with self._lock:
            self._stops.pop(task, None)

    def stop_all(self) -> None:
        """Stops what runs, and whatever is still added."""
        with self._lock:
            self._stopped = True
            stops = list(self._stops.values())
        for stop in stops:
            stop()
