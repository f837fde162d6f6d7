"""The tasks of a compiled pipeline without the pipelines inside of it, such as those that kfp makes of conditions.

What a task inside gets from the pipeline around it is followed to where it comes from: a parameter of the whole run, a constant, or
another task's output.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from components.errors import UserError
from pipeline.specs.conditions import Equality, parse_condition

# Where an input comes from, in the words of PipelineSpec, but with a task's name as `Task.name`.
Source = Mapping[str, Any]
# What a pipeline inside may be besides a condition: loops, and what runs after failures.
_ITERATORS = ("parameterIterator", "artifactIterator", "iteratorPolicy")
_DEFAULT_STRATEGIES = (None, "TRIGGER_STRATEGY_UNSPECIFIED", "ALL_UPSTREAM_TASKS_SUCCEEDED")


@dataclass(frozen=True, kw_only=True)
class Condition:
    """A condition, and where the value that it compares comes from."""

    equality: Equality
    source: Source


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task that a container or a resolver runs.

    Attributes:
        name: Unique: its own, behind those of the pipelines that it is in.
        title: As it is shown.
        component: The definition of what it runs.
        parameters: Where its parameters come from.
        artifacts: Where its artifacts come from.
        upstream: The tasks that it waits for.
        conditions: All must be met; its own, and those of the pipelines that it is in.
    """

    name: str
    title: str
    component: Mapping[str, Any]
    parameters: Mapping[str, Source]
    artifacts: Mapping[str, Source]
    upstream: tuple[str, ...]
    conditions: tuple[Condition, ...]


@dataclass(frozen=True, kw_only=True)
class _Scope:
    """A pipeline and what it gets from around it."""

    prefix: str
    definitions: Mapping[str, Any]
    parameters: Mapping[str, Source]
    artifacts: Mapping[str, Source]
    upstream: frozenset[str]
    conditions: tuple[Condition, ...]


def flatten(spec: Mapping[str, Any]) -> dict[str, Task]:
    """Returns all tasks by name.

    Args:
        spec: PipelineSpec.

    Raises:
        UserError: If the spec has what cannot be run here: loops, exit handlers, outputs of pipelines inside, conditions of
            another form than this project compiles.
    """
    given = spec["root"].get("inputDefinitions", {}).get("parameters", {})
    root = _Scope(
        prefix="",
        definitions={},
        parameters={name: {"componentInputParameter": name} for name in given},
        artifacts={},
        upstream=frozenset(),
        conditions=(),
    )
    return {task.name: task for task in _list_tasks(spec, spec["root"]["dag"], root)}


def _list_tasks(spec: Mapping[str, Any], dag: Mapping[str, Any], scope: _Scope) -> Iterator[Task]:
    tasks = dag.get("tasks", {})
    inside = {name: "dag" in _get_component(spec, task) for name, task in tasks.items()}
    for name, definition in tasks.items():
        path = scope.prefix + name
        _check(path, definition)
        component = _get_component(spec, definition)
        inputs = definition.get("inputs", {})
        parameters = {key: _trace(path, s, scope, inside) for key, s in inputs.get("parameters", {}).items()}
        artifacts = {key: _trace(path, s, scope, inside) for key, s in inputs.get("artifacts", {}).items()}
        upstream = set(scope.upstream) | _list_producers([*parameters.values(), *artifacts.values()])
        for other in definition.get("dependentTasks", []):
            upstream |= set(_list_names(spec, other, tasks[other], scope.prefix))
        conditions = scope.conditions
        if text := definition.get("triggerPolicy", {}).get("condition"):
            equality = parse_condition(text)
            if equality.parameter not in parameters:
                raise UserError(f"{path} has a condition on the parameter {equality.parameter}, which it is not given.")
            conditions += (Condition(equality=equality, source=parameters[equality.parameter]),)
        if inside[name]:
            yield from _list_tasks(
                spec,
                component["dag"],
                _Scope(
                    prefix=f"{path}/",
                    definitions=component.get("inputDefinitions", {}).get("parameters", {}),
                    parameters=parameters,
                    artifacts=artifacts,
                    upstream=frozenset(upstream),
                    conditions=conditions,
                ),
            )
        else:
            yield Task(
                name=path,
                title=definition.get("taskInfo", {}).get("name", name),
                component=component,
                parameters=parameters,
                artifacts=artifacts,
                upstream=tuple(sorted(upstream)),
                conditions=conditions,
            )


def _get_component(spec: Mapping[str, Any], task: Mapping[str, Any]) -> Mapping[str, Any]:
    return spec["components"][task["componentRef"]["name"]]


def _check(path: str, definition: Mapping[str, Any]) -> None:
    if iterators := [key for key in _ITERATORS if key in definition]:
        raise UserError(f"{path} is a loop ({', '.join(iterators)}), which cannot be run here.")
    strategy = definition.get("triggerPolicy", {}).get("strategy")
    if strategy not in _DEFAULT_STRATEGIES:
        raise UserError(f"{path} must start when what it waits for has succeeded; {strategy} cannot be run here.")


def _trace(path: str, source: Source, scope: _Scope, inside: Mapping[str, bool]) -> Source:
    """Returns where an input of a task comes from in the whole pipeline."""
    for kind in ("taskOutputParameter", "taskOutputArtifact"):
        if kind in source:
            producer = source[kind]["producerTask"]
            if inside.get(producer):
                raise UserError(
                    f"{path} takes an output of {scope.prefix}{producer}, a pipeline inside of the pipeline, which cannot be "
                    "run here."
                )
            return {kind: {**source[kind], "producerTask": scope.prefix + producer}}
    if "componentInputParameter" in source:
        name = source["componentInputParameter"]
        if name in scope.parameters:
            return scope.parameters[name]
        if "defaultValue" in scope.definitions.get(name, {}):
            return {"runtimeValue": {"constant": scope.definitions[name]["defaultValue"]}}
        raise UserError(f"{path} takes the parameter {name}, which the pipeline that it is in is not given.")
    if "componentInputArtifact" in source:
        name = source["componentInputArtifact"]
        if name not in scope.artifacts:
            raise UserError(f"{path} takes the artifact {name}, which the pipeline that it is in is not given.")
        return scope.artifacts[name]
    return source


def _list_producers(sources: list[Source]) -> set[str]:
    kinds = ("taskOutputParameter", "taskOutputArtifact")
    return {source[kind]["producerTask"] for source in sources for kind in kinds if kind in source}


def _list_names(spec: Mapping[str, Any], name: str, task: Mapping[str, Any], prefix: str) -> Iterator[str]:
    """Yields the name of a task, or of all tasks in it."""
    component = _get_component(spec, task)
    if "dag" not in component:
        yield prefix + name
        return
    for inner, definition in component["dag"].get("tasks", {}).items():
        yield from _list_names(spec, inner, definition, f"{prefix}{name}/")
