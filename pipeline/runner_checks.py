"""What would fail on a cluster, found before anything is submitted: images, paths, machines."""

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from components.options import nearest
from configs.load import ConfigError, Problem
from configs.runner_schema import (
    DEFAULT_RESOURCES,
    BeamSection,
    ClusterRunnerConfig,
    KubeflowRunnerConfig,
    LocalRunnerConfig,
    VertexRunnerConfig,
)
from configs.schema import RunConfig
from pipeline.beam.checks import find_beam_problems
from pipeline.code_hash import REPOSITORY_ROOT
from pipeline.file_checks import is_below
from pipeline.kubeflow.checks import find_kubeflow_problems
from pipeline.node_names import list_node_names
from pipeline.vertex.checks import apply_machines, find_vertex_problems

# registry/name:tag or registry/name@sha256:…; a registry may have a port.
_IMAGE = re.compile(r"(?P<name>[^\s@]+?)(:(?P<tag>[\w][\w.-]{0,127})|@sha256:[0-9a-f]{64})")
_IN_IMAGE = ("data", "components", "configs")
_BUCKET = re.compile(r"gs://[a-z0-9][a-z0-9._-]{1,220}[a-z0-9](/.*)?")


def find_image_problem(image: str | None) -> str | None:
    """Returns what is wrong with the name of an image."""
    if image is None:
        return "must name the container image that holds the code: --image registry/name:tag. Received: none."
    match = _IMAGE.fullmatch(image)
    if not match or "/" in (match["tag"] or ""):
        return (
            "must have a tag or a digest (registry/name:tag), so that it is known which code runs, and a scheduled run does not "
            f"change with the next build. Received: {image!r}."
        )
    if match["tag"] == "latest":
        return f"must have a tag other than `latest`, which moves with the next build. Received: {image!r}."
    return None


def move_to_image(config: RunConfig, runner: ClusterRunnerConfig) -> tuple[RunConfig, list[Problem]]:
    """Returns the run with its local paths as the image has them, and the paths that no container would find."""
    problems: list[Problem] = []

    def move(key: str, path: str | None) -> str | None:
        if path is None or _is_found_there(path, runner):
            return path
        absolute = Path(path).absolute()
        if absolute.is_relative_to(REPOSITORY_ROOT):
            relative = absolute.relative_to(REPOSITORY_ROOT)
            if relative.parts[0] in _IN_IMAGE:
                return relative.as_posix()
        problems.append(Problem(key, _explain_path(path, runner)))
        return path

    content: dict[str, Any] = config.model_dump(mode="json")
    data, evaluation = content["data"], content["evaluation"]
    data["path"] = move("data.path", data["path"])
    data["schema_path"] = move("data.schema_path", data["schema_path"])
    if evaluation["general"]:
        evaluation["general"]["path"] = move("evaluation.general.path", evaluation["general"]["path"])
    presets = {
        "model.preset": content["model"],
        "token_cleaning.reference.preset": content["token_cleaning"]["reference"],
    }
    presets |= {f"evaluation.metrics.{i}.preset": metric for i, metric in enumerate(evaluation["metrics"])}
    for key, section in presets.items():
        preset = section.get("preset")
        if preset and Path(preset).is_dir():  # else a name, or a handle
            section["preset"] = move(key, preset)
    return RunConfig.model_validate(content), problems


def require_valid_run(
    config: RunConfig, config_path: str, runner: LocalRunnerConfig | ClusterRunnerConfig, more: Iterable[Problem] = ()
) -> RunConfig:
    """Returns the run as it stands where the runner runs it.

    Args:
        config: The run.
        config_path: Where it was read from.
        runner: This machine, whose own problems are `find_local_problems`, or a cluster.
        more: Problems that were found already.

    Raises:
        ConfigError: With everything that would fail there.
    """
    problems = list(more)
    if not isinstance(runner, LocalRunnerConfig):
        config, found = check_run(config, runner)
        problems += found
    if problems:
        raise ConfigError(config_path, problems)
    return config


def check_run(config: RunConfig, runner: ClusterRunnerConfig) -> tuple[RunConfig, list[Problem]]:
    """Returns the run as it stands in the image, for the machines of the runner, and everything that would fail there."""
    moved, problems = move_to_image(config, runner)
    if isinstance(runner, VertexRunnerConfig):
        moved, found = apply_machines(moved, runner)
        problems += [_of_runner(problem) if problem.key.startswith("trainer") else problem for problem in found]
    return moved, problems + find_runner_problems(config, runner)


def find_runner_problems(config: RunConfig, runner: ClusterRunnerConfig) -> list[Problem]:
    """Returns everything but the run's paths and strategies that would fail on the runner's cluster."""
    problems: list[Problem] = []
    if problem := find_image_problem(runner.image):
        problems.append(Problem("image", problem))
    root = runner.pipeline_root if runner.pipeline_root.startswith("gs://") else None
    if root and not _BUCKET.fullmatch(root):
        message = "must be gs://bucket/folder, with a bucket of small letters, digits, dots, dashes and underscores."
        problems.append(Problem("pipeline_root", f"{message} Received: {runner.pipeline_root!r}."))
    # That there is no image has been said.
    problems += find_beam_problems(runner.beam, image=runner.image or "image", temp_root=root)
    if problem := find_root_problem(runner.beam, runner.pipeline_root):
        problems.append(Problem("pipeline_root", problem))
    problems += _find_resource_problems(config, runner)
    if isinstance(runner, VertexRunnerConfig):
        problems += find_vertex_problems(runner)
    else:
        assert isinstance(runner, KubeflowRunnerConfig)
        problems += find_kubeflow_problems(runner)
    return [_of_runner(problem) for problem in problems]


def find_local_problems(runner: LocalRunnerConfig) -> list[Problem]:
    """Returns what would fail on this machine: options of Beam, and a root that Beam's workers would not see."""
    problems = find_beam_problems(runner.beam)
    if problem := find_root_problem(runner.beam, runner.root):
        problems.append(Problem("root", problem))
    return problems


def find_root_problem(beam: BeamSection, root: str) -> str | None:
    """Returns why Beam's workers would not see what is below a root: they are on other machines."""
    if beam.runner == "direct" or root.startswith("gs://"):
        return None
    if beam.runner == "dataflow":
        return (
            "must be in a bucket (gs://bucket/folder) with the Beam runner dataflow, whose machines see no folder of yours. "
            f"Received: {root!r}. Only runners of kind vertex and kubeflow can have one; or set `beam.runner` to another."
        )
    workers = str(beam.options.get("environment_config", ""))
    if beam.options.get("environment_type") == "LOOPBACK" or workers.startswith(("localhost", "127.0.0.1")):
        return None
    if os.path.isabs(root):
        return None
    return (
        f"must be the full path of a volume that the workers of {beam.runner} see under the same name. Received: {root!r}. For "
        "workers on this machine set `environment_type: LOOPBACK` in `beam.options`."
    )


def _find_resource_problems(config: RunConfig, runner: ClusterRunnerConfig) -> Iterator[Problem]:
    names = list_node_names(config, runner)
    for node_id in runner.resources:
        if node_id not in (*names, DEFAULT_RESOURCES):
            message = (
                f"must be the name of a node of this run ({', '.join(names)}), or {DEFAULT_RESOURCES}."
                f"{nearest(node_id, names)} Received: {node_id!r}."
            )
            yield Problem(f"resources.{node_id}", message)


def _of_runner(problem: Problem) -> Problem:
    return Problem(f"runner.{problem.key}", problem.message)


def _is_found_there(path: str, runner: ClusterRunnerConfig) -> bool:
    if path.startswith("gs://"):
        return bool(_BUCKET.fullmatch(path))
    if "://" in path:
        return False
    return is_below(path, find_mount(runner))


def find_mount(runner: LocalRunnerConfig | ClusterRunnerConfig) -> str | None:
    """Returns the folder in which containers find the runner's volume; None without one."""
    return runner.volume.mount_path if isinstance(runner, KubeflowRunnerConfig) and runner.volume else None


def _explain_path(path: str, runner: ClusterRunnerConfig) -> str:
    places = ["an address in a bucket (gs://bucket/folder)"]
    if mount := find_mount(runner):
        places.append(f"a path on the volume ({mount}/…)")
    places.append(f"a file that the image holds ({', '.join(f'{name}/' for name in _IN_IMAGE)})")
    kind = "Vertex AI" if isinstance(runner, VertexRunnerConfig) else "Kubeflow Pipelines"
    return (
        f"must be {', or '.join(places)}: the containers of {kind} do not see this machine's files. Received: {path!r}."
    )
