"""Pipelines inside of pipelines, as tasks in a row."""

import copy

import pytest

from components.errors import UserError
from pipeline.specs.flatten import flatten

MET = "inputs.parameter_values['answer'] == 'true'"


def make_task(component, **more):
    return {"componentRef": {"name": component}, **more}


def get_output(producer, key, kind="Parameter"):
    return {f"taskOutput{kind}": {"producerTask": producer, f"output{kind}Key": key}}


# check -> outer { prepare -> inner { train } -> report }
SPEC = {
    "root": {
        "inputDefinitions": {"parameters": {"rate": {"parameterType": "STRING"}}},
        "dag": {
            "tasks": {
                "check": make_task("container", taskInfo={"name": "Check"}),
                "read": make_task("container"),
                "outer": make_task(
                    "outer",
                    dependentTasks=["check"],
                    inputs={
                        "parameters": {
                            "answer": get_output("check", "needed"),
                            "given": {"componentInputParameter": "rate"},
                        },
                        "artifacts": {"data": get_output("read", "data", "Artifact")},
                    },
                    triggerPolicy={"condition": MET},
                ),
                "after": make_task("container", dependentTasks=["outer"]),
            }
        },
    },
    "components": {
        "container": {"executorLabel": "x"},
        "outer": {
            "inputDefinitions": {
                "parameters": {
                    "answer": {"parameterType": "STRING"},
                    "given": {"parameterType": "STRING"},
                    "steps": {"parameterType": "NUMBER_INTEGER", "defaultValue": 7},
                }
            },
            "dag": {
                "tasks": {
                    "prepare": make_task("container"),
                    "inner": make_task(
                        "inner",
                        inputs={
                            "parameters": {
                                "answer": get_output("prepare", "go"),
                                "rate": {"componentInputParameter": "given"},
                                "steps": {"componentInputParameter": "steps"},
                                "seed": {"runtimeValue": {"constant": 3}},
                            },
                            "artifacts": {"examples": {"componentInputArtifact": "data"}},
                        },
                        triggerPolicy={"condition": MET},
                    ),
                    "report": make_task("container", dependentTasks=["inner"]),
                }
            },
        },
        "inner": {
            "dag": {
                "tasks": {
                    "train": make_task(
                        "container",
                        inputs={
                            "parameters": {
                                name: {"componentInputParameter": name} for name in ("rate", "steps", "seed")
                            },
                            "artifacts": {"examples": {"componentInputArtifact": "examples"}},
                        },
                    )
                }
            }
        },
    },
}


def test_names_order_and_titles():
    tasks = flatten(SPEC)
    assert {name: task.upstream for name, task in tasks.items()} == {
        "check": (),
        "read": (),
        # What the pipeline around a task waits for, it waits for too.
        "outer/prepare": ("check", "read"),
        "outer/inner/train": ("check", "outer/prepare", "read"),
        "outer/report": ("check", "outer/inner/train", "read"),
        # All that is in a pipeline, where one waits for the pipeline.
        "after": ("outer/inner/train", "outer/prepare", "outer/report"),
    }
    assert (tasks["check"].title, tasks["outer/inner/train"].title) == ("Check", "train")


def test_inputs_are_followed_to_where_they_come_from():
    train = flatten(SPEC)["outer/inner/train"]
    assert train.parameters == {
        "rate": {"componentInputParameter": "rate"},
        "steps": {"runtimeValue": {"constant": 7}},
        "seed": {"runtimeValue": {"constant": 3}},
    }
    assert train.artifacts == {"examples": get_output("read", "data", "Artifact")}


def test_conditions_of_all_pipelines_around():
    found = {
        name: [(c.equality.parameter, c.equality.text, c.source) for c in task.conditions]
        for name, task in flatten(SPEC).items()
    }
    outer = ("answer", "true", get_output("check", "needed"))
    inner = ("answer", "true", get_output("outer/prepare", "go"))
    assert found == {
        "check": [],
        "read": [],
        "outer/prepare": [outer],
        "outer/inner/train": [outer, inner],
        "outer/report": [outer],
        "after": [],
    }


def change(path, value):
    spec = copy.deepcopy(SPEC)
    place = spec
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return spec


TASKS = ("root", "dag", "tasks")


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ((*TASKS, "outer", "parameterIterator"), {"itemInput": "x"}, "outer is a loop"),
        (
            (*TASKS, "after", "triggerPolicy"),
            {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"},
            "after must start when what it waits for has succeeded; ALL_UPSTREAM_TASKS_COMPLETED",
        ),
        ((*TASKS, "outer", "triggerPolicy"), {"condition": "1 > 0"}, "equality of a parameter and a text"),
        (
            (*TASKS, "after", "triggerPolicy"),
            {"condition": MET},
            "after has a condition on the parameter answer, which it is not given",
        ),
        (
            (*TASKS, "after", "inputs"),
            {"parameters": {"x": get_output("outer", "y")}},
            "after takes an output of outer, a pipeline inside",
        ),
        (
            (*TASKS, "after", "inputs"),
            {"parameters": {"x": {"componentInputParameter": "y"}}},
            "after takes the parameter y, which the pipeline that it is in is not given",
        ),
        (
            ("components", "inner", "dag", "tasks", "train", "inputs"),
            {"artifacts": {"x": {"componentInputArtifact": "y"}}},
            "outer/inner/train takes the artifact y, which",
        ),
    ],
)
def test_what_cannot_be_run_here_is_named(path, value, expected):
    with pytest.raises(UserError, match=expected):
        flatten(change(path, value))
