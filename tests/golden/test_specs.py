"""The compiled pipelines are what the golden files say; what changed is told in words."""

import importlib.util
import json
import os
from pathlib import Path

import pytest
import yaml

from pipeline.specs.flatten import flatten

_SPEC = importlib.util.spec_from_file_location("write_specs", Path(__file__).with_name("write_specs.py"))
write_specs = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(write_specs)

MAX_BYTES = 1_000_000


def describe_changes(old, new, place="the pipeline"):
    """Says what is in `new` that is not in `old`, and the other way round, one line each."""
    if isinstance(old, str) and isinstance(new, str) and old != new:
        try:  # settings are JSON in an argument
            parsed = json.loads(old), json.loads(new)
        except ValueError:
            parsed = None
        if parsed and all(isinstance(value, dict) for value in parsed):
            return describe_changes(*parsed, place)
    if isinstance(old, dict) and isinstance(new, dict):
        lines = [f"{place}: {key!r} was removed" for key in old if key not in new]
        lines += [f"{place}: {key!r} was added" for key in new if key not in old]
        for key in old:
            if key in new:
                lines += describe_changes(old[key], new[key], f"{place} > {key}")
        return lines
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = enumerate(zip(old, new, strict=True), start=1)
        return [line for i, pair in pairs for line in describe_changes(*pair, f"{place} > no. {i}")]
    return [] if old == new else [f"{place}: was {old!r}, is {new!r}"]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    log_path = tmp_path_factory.mktemp("compile") / "log"
    return {runner: write_specs.compile_golden(runner, log_path) for runner in write_specs.RUNNERS}


@pytest.mark.parametrize("runner", write_specs.RUNNERS)
def test_compiled_pipeline(compiled, runner):
    golden = write_specs.get_golden_path(runner).read_text(encoding="utf-8")
    documents = [list(yaml.load_all(text, yaml.CSafeLoader)) for text in (golden, compiled[runner])]
    changes = describe_changes(*(dict(enumerate(d)) for d in documents))
    hint = "If this is meant: python tests/golden/write_specs.py"
    assert changes == [], "\n".join(["The compiled pipeline has changed:", *changes, hint])
    assert compiled[runner] == golden
    assert len(compiled[runner].encode()) < MAX_BYTES


def test_changes_in_words():
    old = {"a": {"image": "x:1", "args": ["--settings", '{"rate": 1}']}, "b": 1}
    new = {"a": {"image": "x:2", "args": ["--settings", '{"rate": 2}']}, "c": 1}
    assert describe_changes(old, new) == [
        "the pipeline: 'b' was removed",
        "the pipeline: 'c' was added",
        "the pipeline > a > image: was 'x:1', is 'x:2'",
        "the pipeline > a > args > no. 2 > rate: was 1, is 2",
    ]


@pytest.mark.parametrize("runner", write_specs.RUNNERS)
def test_every_container_has_image_command_and_resources(compiled, runner):
    spec = next(iter(yaml.load_all(compiled[runner], yaml.CSafeLoader)))
    containers = [e["container"] for e in spec["deploymentSpec"]["executors"].values() if "container" in e]
    assert len(containers) == (17 if runner == "kubeflow" else 15)  # Vertex AI resolves without one, and has no check
    for container in containers:
        assert container["image"] == write_specs.IMAGE
        assert container["command"][:2] == ["python", "-m"]
        assert container["resources"]


def test_kubeflow_runs_nothing_but_the_check_unless_it_says_so(compiled):
    spec = next(iter(yaml.load_all(compiled["kubeflow"], yaml.CSafeLoader)))
    tasks = flatten(spec)
    assert len(tasks) == 17
    (check,) = [name for name, task in tasks.items() if not task.conditions]
    assert check == "runcheck"
    answer = {"taskOutputParameter": {"outputParameterKey": "needed", "producerTask": check}}
    for name in set(tasks) - {check}:
        (condition,) = tasks[name].conditions
        assert (condition.equality.text, condition.source) == ("true", answer)
