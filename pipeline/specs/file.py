"""A compiled pipeline on disk: PipelineSpec as YAML, and beside it the values of its parameters."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from components.errors import UserError
from components.options import nearest
from components.storage import whole_file
from pipeline.specs.compiled_spec import CompiledSpec

MAX_SPEC_BYTES = 20_000_000


@dataclass(frozen=True, kw_only=True)
class SpecFile:
    """A spec that was read.

    Attributes:
        path: Its file.
        spec: PipelineSpec.
        platform: What is particular to Kubernetes, or nothing.
        parameters: The values that were written beside it.
    """

    path: Path
    spec: dict[str, Any]
    platform: dict[str, Any]
    parameters: dict[str, Any]


def name_parameters_file(path: Path) -> Path:
    """Returns where the parameters of the spec in `path` are."""
    return path.with_suffix(".parameters.yaml")


def write_spec(compiled: CompiledSpec, path: Path) -> None:
    """Writes the spec and its parameters, each file whole or not at all; never are those of an earlier spec beside a new one.

    Raises:
        OSError: They cannot be written. What was there before stays, but perhaps for the parameters.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    parameters = yaml.safe_dump(dict(compiled.parameters), sort_keys=True, allow_unicode=True)
    beside = name_parameters_file(path)
    # Each takes its place when its block ends: the spec first.
    with whole_file(beside) as second, whole_file(path) as first:
        first.write(compiled.text.encode())
        second.write(parameters.encode())
        first.flush()
        second.flush()
        beside.unlink(missing_ok=True)


def read_spec(path: Path) -> SpecFile:
    """Reads a spec and, where they are beside it, its parameters.

    Raises:
        UserError: If it is not a compiled pipeline of schema 2.1.
    """
    if not path.is_file():
        raise UserError(f"must be a compiled pipeline, but there is no such file: {path}. `compile` writes one.")
    if path.stat().st_size > MAX_SPEC_BYTES:
        raise UserError(
            f"a compiled pipeline must be at most {MAX_SPEC_BYTES} bytes. {path} has {path.stat().st_size}."
        )
    try:
        documents = list(yaml.load_all(path.read_text(encoding="utf-8"), yaml.CSafeLoader))
    except (ValueError, yaml.YAMLError) as error:
        raise UserError(f"{path} must be YAML in UTF-8: {error}") from error
    # A job of Vertex AI wraps its spec.
    documents = [d.get("pipelineSpec", d) if isinstance(d, dict) else d for d in documents]
    specs = [d for d in documents if isinstance(d, dict) and "root" in d and "deploymentSpec" in d]
    if len(specs) != 1:
        raise UserError(f"{path} must hold one PipelineSpec (`root`, `deploymentSpec`). It holds {len(specs)}.")
    version = str(specs[0].get("schemaVersion"))
    if version < "2.1":
        raise UserError(f"{path} must be of schema version 2.1, which `compile` writes. Received: {version}.")
    platforms = [d["platforms"] for d in documents if isinstance(d, dict) and "platforms" in d]
    beside = name_parameters_file(path)
    try:
        parameters = yaml.load(beside.read_text(encoding="utf-8"), yaml.CSafeLoader) if beside.is_file() else None
    except (ValueError, yaml.YAMLError) as error:
        raise UserError(f"{beside} must be YAML in UTF-8: {error}. `compile` writes it again.") from error
    if not isinstance(parameters, dict | None) or not all(isinstance(name, str) for name in parameters or {}):
        raise UserError(
            f"{beside} must hold a value for each parameter. It holds something else: `compile` writes it again."
        )
    return SpecFile(path=path, spec=specs[0], platform=platforms[0] if platforms else {}, parameters=parameters or {})


def fill_parameters(spec: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a value for every parameter of a spec.

    Raises:
        UserError: If one has none, or one is given that the spec does not have.
    """
    definitions = spec["root"].get("inputDefinitions", {}).get("parameters", {})
    if unknown := [name for name in given if name not in definitions]:
        hints = "".join(nearest(name, definitions) for name in unknown)
        raise UserError(
            f"the pipeline has the parameters {', '.join(definitions) or 'none'}.{hints} Received: {', '.join(unknown)}."
        )
    values = {name: d["defaultValue"] for name, d in definitions.items() if "defaultValue" in d} | dict(given)
    if missing := [name for name in definitions if name not in values]:
        raise UserError(
            f"every parameter must have a value; {', '.join(missing)} have none. Give them with --param NAME=VALUE, or the file "
            "that `compile` has written beside the spec."
        )
    return values
