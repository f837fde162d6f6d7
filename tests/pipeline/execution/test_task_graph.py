import threading

import pytest

from pipeline.execution.task_graph import RunningTasks, run_tasks

DIAMOND = {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"]}


def test_tasks_run_after_those_that_they_wait_for():
    order = []
    assert run_tasks(DIAMOND, order.append, 1) == {}
    assert sorted(order) == ["a", "b", "c", "d"]
    assert (order[0], order[-1]) == ("a", "d")


def test_independent_tasks_run_side_by_side_and_no_more_than_allowed():
    both = threading.Barrier(2)
    running, most = set(), []
    lock = threading.Lock()

    def run(task):
        with lock:
            running.add(task)
            most.append(len(running))
        if task in ("b", "c"):
            both.wait(timeout=30)  # passes only if the other one is there too
        with lock:
            running.discard(task)

    assert run_tasks({**DIAMOND, "e": ["a"]}, run, 2) == {}
    assert max(most) == 2


def test_of_several_the_one_that_most_wait_for_is_first():
    order = []
    run_tasks({"short": [], "long": [], "next": ["long"], "last": ["next"]}, order.append, 1)
    assert order == ["long", "next", "short", "last"]


def test_after_a_failure_nothing_is_started_and_what_runs_is_waited_for():
    started, ended = [], []
    failing = threading.Event()

    def run(task):
        started.append(task)
        if task == "b":
            failing.set()
            raise ValueError("b")
        if task == "c":
            assert failing.wait(30)
        ended.append(task)

    failed = run_tasks(DIAMOND, run, 2)
    assert {task: str(error) for task, error in failed.items()} == {"b": "b"}
    assert (sorted(started), sorted(ended)) == (["a", "b", "c"], ["a", "c"])


def test_leaving_by_an_exception_stops_what_runs():
    tasks = RunningTasks()
    stopped = threading.Event()

    class Signal(BaseException):
        pass

    def run(task):
        tasks.add(task, stopped.set)
        if task == "b":
            raise Signal
        assert stopped.wait(30)

    with pytest.raises(Signal):
        run_tasks({"b": [], "c": []}, run, 2, tasks.stop_all)
    assert stopped.is_set()


def test_what_is_added_after_all_were_stopped_is_stopped_too():
    tasks, stopped = RunningTasks(), []
    tasks.add("a", lambda: stopped.append("a"))
    tasks.remove("a")
    tasks.stop_all()
    tasks.add("b", lambda: stopped.append("b"))
    assert stopped == ["b"]


@pytest.mark.parametrize("upstream", [{"a": ["b"], "b": ["a"]}, {"a": ["nowhere"]}])
def test_a_graph_that_cannot_run(upstream):
    with pytest.raises(ValueError, match="circle"):
        run_tasks(upstream, lambda _: None, 1)
