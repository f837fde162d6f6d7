"""Reads a run's or a runner's YAML into the classes of `configs.schema`, and reports every problem of a file at once."""

import re
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from components.addresses import hide_password
from components.errors import UserError
from components.options import nearest
from configs.refused_runners import explain_refused_runner
from configs.runner_schema import ClusterRunnerConfig, KubeflowRunnerConfig, LocalRunnerConfig, VertexRunnerConfig
from configs.schema import RunConfig
from configs.section import NamedSection

MAX_CONFIG_BYTES = 1_000_000
# Of a problem; what was received may be long.
_MAX_MESSAGE = 1000


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: `key` is its dotted place in the file ("" for the file itself)."""

    key: str
    message: str

    def __str__(self) -> str:
        return f"{_shorten(self.key)}: {_shorten(self.message)}" if self.key else _shorten(self.message)


def _shorten(text: str) -> str:
    return text if len(text) <= _MAX_MESSAGE else f"{text[: _MAX_MESSAGE - 200]} ... {text[-200:]}"


_SHOWN = 50  # problems


class ConfigError(UserError):
    """A configuration file has problems; `problems` lists all of them."""

    def __init__(self, source: str, problems: Iterable[Problem]):
        self.source = source
        self.problems = sorted(set(problems), key=lambda p: (p.key, p.message))
        count = len(self.problems)
        lines = [f"{source} has {count} problem{'s' if count > 1 else ''}", *(f"  {p}" for p in self.problems[:_SHOWN])]
        if count > _SHOWN:
            lines.append(f"  and {count - _SHOWN:,} more")
        super().__init__("\n".join(lines))


class NumberLoader(yaml.SafeLoader):
    """Safe YAML that reads `1e-3` as the number that it is in YAML 1.2, and in JSON."""


class _Loader(NumberLoader):
    """Also refuses a key given twice, and aliases: a file of 2 KB can stand for gigabytes with them."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Composes the next node."""
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.MarkedYAMLError(
                problem="aliases (*name) are not accepted, write the value out", problem_mark=mark
            )
        return super().compose_node(parent, index)


class _Dumper(yaml.SafeDumper):
    """Writes no aliases, which would not be read."""

    def ignore_aliases(self, _data: Any) -> bool:
        """Whatever it is."""
        return True


NumberLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+0123456789."),
)


def _construct_mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, str):
            raise yaml.MarkedYAMLError(
                problem=f"a key must be text, received {key!r}", problem_mark=key_node.start_mark
            )
        if key in seen:
            raise yaml.MarkedYAMLError(problem=f"the key {key!r} is given twice", problem_mark=key_node.start_mark)
        seen.add(key)
    return yaml.SafeLoader.construct_mapping(loader, node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _construct_mapping)


def read_yaml(path: str) -> dict[str, Any]:
    """Returns the mapping in the YAML file at `path`.

    Raises:
        ConfigError: If there is no such file, or it is not UTF-8, not YAML, or not a mapping.
    """
    file = Path(path)
    if not file.is_file():
        near = nearest(file.name, [p.name for p in file.parent.glob("*.yaml")]) if file.parent.is_dir() else ""
        raise ConfigError(path, [Problem("", f"must be a YAML file, but there is no such file.{near}")])
    if file.stat().st_size > MAX_CONFIG_BYTES:
        raise ConfigError(path, [Problem("", f"must be at most {MAX_CONFIG_BYTES} bytes, has {file.stat().st_size}.")])
    try:
        raw = yaml.load(file.read_bytes().decode("utf-8-sig"), _Loader)
    except UnicodeDecodeError as error:
        raise ConfigError(path, [Problem("", f"must be UTF-8 text: {error}.")]) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ConfigError(path, [Problem("", f"is not valid YAML: {where}{error.problem}.")]) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(path, [Problem("", f"is not valid YAML: {error}.")]) from error
    if not isinstance(raw, dict):
        raise ConfigError(path, [Problem("", f"must hold a mapping of sections, received {type(raw).__name__}.")])
    return raw


def apply_overrides(raw: Mapping[str, Any], overrides: Iterable[str]) -> tuple[dict[str, Any], list[Problem]]:
    """Returns `raw` with each `a.b=value` (the value in YAML) set, and the overrides that are not of that form."""
    result = _copy(raw)
    problems = []
    for override in overrides:
        key, separator, text = override.partition("=")
        parts = key.strip().split(".")
        if not separator or not all(parts):
            problems.append(Problem("--set", f"must be of the form section.key=value. Received: {override!r}."))
            continue
        try:
            value = yaml.load(text, _Loader)
        except (yaml.YAMLError, ValueError, RecursionError):
            problems.append(Problem("--set", f"the value must be valid YAML. Received: {override!r}."))
            continue
        if not _set_value(result, parts, value):
            message = f"where the file has a list, a key must be the number of one of its items, from 0 on. Received: {override!r}."
            problems.append(Problem("--set", message))
    return result, problems


def _set_value(target: Any, parts: list[str], value: Any) -> bool:
    """Sets the value at a path of keys, and of numbers of items; returns whether there are such items."""
    key: Any = parts[0]
    if isinstance(target, list):
        if not (key.isdecimal() and int(key) < len(target)):
            return False
        key = int(key)
    if len(parts) == 1:
        target[key] = value
        return True
    inner = target[key] if isinstance(target, list) else target.get(key)
    if isinstance(inner, str) and isinstance(target, list):
        inner = target[key] = {"name": inner}  # a thing that is given by its name alone
    elif not isinstance(inner, dict | list):
        inner = target[key] = {}
    return _set_value(inner, parts[1:], value)


def _copy(value: Any) -> Any:
    if isinstance(value, list):
        return [_copy(item) for item in value]
    return {k: _copy(v) for k, v in value.items()} if isinstance(value, Mapping) else value


def parse_sections(raw: Mapping[str, Any]) -> tuple[dict[str, BaseModel], list[Problem]]:
    """Checks each section of a run on its own.

    Returns:
        The sections that are valid, by name (absent ones with their defaults), and the problems of the others. One bad
        section thus does not hide what is wrong in another.
    """
    sections: dict[str, BaseModel] = {}
    problems = _unknown_keys("", raw, RunConfig)
    for name, field in RunConfig.model_fields.items():
        if raw.get(name) is None:  # not there, or with all of its keys commented out
            if field.is_required():
                problems.append(Problem(name, "this section is required."))
            else:
                sections[name] = field.default
            continue
        section_class = typing.cast(type[BaseModel], field.annotation)
        try:
            sections[name] = section_class.model_validate(raw[name])
        except ValidationError as error:
            problems += [_to_problem(name, detail, section_class) for detail in error.errors()]
    return sections, problems


RUNNERS: dict[str, type[LocalRunnerConfig] | type[ClusterRunnerConfig]] = {
    "local": LocalRunnerConfig,
    "kubeflow": KubeflowRunnerConfig,
    "vertex": VertexRunnerConfig,
}


def load_runner(path: str, overrides: Iterable[str] = ()) -> LocalRunnerConfig | ClusterRunnerConfig:
    """Returns the runner configuration in the YAML file at `path`.

    Raises:
        ConfigError: With every problem of the file.
    """
    raw, problems = apply_overrides(read_yaml(path), overrides)
    kind = raw.get("kind")
    if not isinstance(kind, str) or kind not in RUNNERS:
        near = nearest(_show(kind).strip("'"), RUNNERS)
        raise ConfigError(
            path, [*problems, Problem("kind", f"must be one of {', '.join(RUNNERS)}.{near} Received: {_show(kind)}.")]
        )
    config, more = parse_runner(raw)
    if problems or more or config is None:
        raise ConfigError(path, [*problems, *more])
    return config


def parse_runner(raw: Mapping[str, Any]) -> tuple[LocalRunnerConfig | ClusterRunnerConfig | None, list[Problem]]:
    """Returns the runner that a mapping with a known `kind` describes, or its problems."""
    runner_class = RUNNERS[raw["kind"]]
    try:
        return runner_class.model_validate(raw), []
    except ValidationError as error:
        return None, [_to_problem("", detail, runner_class) for detail in error.errors()]


def dump_config(config: RunConfig) -> str:
    """Returns the whole configuration, defaults included, as YAML that `pipeline run` reads back."""
    return yaml.dump(config.model_dump(mode="json"), Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def _unknown_keys(prefix: str, raw: Mapping[str, Any], model: type[BaseModel]) -> list[Problem]:
    names = list(model.model_fields)
    return [
        Problem(f"{prefix}{key}", f"unknown key.{nearest(key, names)} Keys: {', '.join(names)}.")
        for key in raw
        if key not in model.model_fields
    ]


def _to_problem(section: str, detail: Any, root: type[BaseModel]) -> Problem:
    location = [
        part
        for part in detail["loc"]
        if not (isinstance(part, str) and part in {"sqlite", "mysql", "postgresql", "grpc"})
    ]
    key = ".".join(str(part) for part in ([section] if section else []) + list(location))
    if detail["type"] == "extra_forbidden":
        names = _keys_at(root, location[:-1])
        listing = f" Keys: {', '.join(names)}." if names else ""
        return Problem(key, f"unknown key.{nearest(str(location[-1]), names)}{listing}")
    if detail["type"] == "missing":
        return Problem(key, "is required.")
    if key == "beam.runner" and (reason := explain_refused_runner(_show(detail["input"]).strip("'"))):
        return Problem(key, reason)
    if detail["type"] == "model_type":
        return Problem(key, f"must be a mapping of keys to values. Received: {_show(detail['input'])}.")
    rule = detail["msg"].removeprefix("Value error, ").removeprefix("Input should be ").rstrip(".")
    if detail["type"] != "value_error":
        rule = f"must be {rule}" if not rule.startswith("must") else rule
    is_shown = isinstance(detail["input"], str | int | float | list | None) and not key.endswith(("env", "host"))
    received = f" Received: {_show(detail['input'])}." if is_shown else ""
    choices = detail.get("ctx", {}).get("expected", "")
    near = nearest(_show(detail["input"]).strip("'"), re.findall(r"'([^']+)'", choices)) if choices else ""
    return Problem(key, f"{rule}.{received}{near}")


def _show(value: Any) -> str:
    try:
        return repr(hide_password(value) if isinstance(value, str) else value)
    except (ValueError, RecursionError):  # an integer of thousands of digits
        return f"a number of {value.bit_length():,} bits" if isinstance(value, int) else "a value that cannot be shown"


def _keys_at(model: type[BaseModel], location: Iterable[Any]) -> list[str]:
    """Returns the keys that the section at `location` (a path of names and list indices) below `model` may hold."""
    current: list[type[BaseModel]] = [model]
    for part in location:
        if isinstance(part, int):
            continue
        annotations = [m.model_fields[part].annotation for m in current if part in m.model_fields]
        current = [m for annotation in annotations for m in _models_in(annotation)]
    return [name for m in current if not issubclass(m, NamedSection) for name in m.model_fields]


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is not None:
        return [m for argument in typing.get_args(annotation) for m in _models_in(argument)]
    return []
