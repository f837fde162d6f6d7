"""What would fail on a cluster, found before anything is submitted: images, paths, machines."""

import re
from pathlib import Path
from typing import Any

from configs.load import Problem
from configs.runner_schema import ClusterRunnerConfig, KubeflowRunnerConfig, VertexRunnerConfig
from configs.schema import RunConfig
from pipeline.beam.checks import find_beam_problems
from pipeline.code_hash import REPOSITORY_ROOT
from pipeline.vertex.machines import find_machine_problems
from pipeline.vertex.trainer import choose_strategy, find_strategy_problems

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


def apply_machines(config: RunConfig, runner: ClusterRunnerConfig) -> tuple[RunConfig, list[Problem]]:
    """Returns the run with the strategy that the training's machines need, and where it contradicts them."""
    if not isinstance(runner, VertexRunnerConfig) or runner.trainer is None:
        return config, []
    pool, train = runner.trainer, config.train
    if problems := find_strategy_problems(pool, train.strategy, train.backend):
        return config, problems
    strategy = choose_strategy(pool, train.strategy, train.backend)
    content = config.model_dump(mode="json")
    content["train"]["strategy"] = strategy
    return RunConfig.model_validate(content), []


def find_runner_problems(runner: ClusterRunnerConfig) -> list[Problem]:
    """Returns everything else that would fail on the runner's cluster."""
    problems = []
    if problem := find_image_problem(runner.image):
        problems.append(Problem("runner.image", problem))
    if runner.pipeline_root.startswith("gs://") and not _BUCKET.fullmatch(runner.pipeline_root):
        message = "must be gs://bucket/folder, with a bucket of small letters, digits, dots, dashes and underscores."
        problems.append(Problem("runner.pipeline_root", f"{message} Received: {runner.pipeline_root!r}."))
    root = runner.pipeline_root if runner.pipeline_root.startswith("gs://") else None
    problems += find_beam_problems(runner.beam, image=runner.image, temp_root=root, key="runner.beam")
    if isinstance(runner, VertexRunnerConfig):
        problems += _find_machine_problems(runner)
    return problems


def _find_machine_problems(runner: VertexRunnerConfig) -> list[Problem]:
    found = {}
    if pool := runner.trainer:
        found["runner.trainer"] = find_machine_problems(
            pool.machine_type, pool.accelerator_type, pool.accelerator_count, pool.tpu_topology, runner.region
        )
    for node_id, section in runner.resources.items():
        if section.accelerator:
            accelerator = section.accelerator
            key = f"runner.resources.{node_id}.accelerator"
            found[key] = find_machine_problems(None, accelerator.type, accelerator.count, None, runner.region)
    return [Problem(f"{place}.{key}", message) for place, pairs in found.items() for key, message in pairs]


def _is_found_there(path: str, runner: ClusterRunnerConfig) -> bool:
    if path.startswith("gs://"):
        return bool(_BUCKET.fullmatch(path))
    if "://" in path:
        return False
    volume = runner.volume if isinstance(runner, KubeflowRunnerConfig) else None
    return volume is not None and path.startswith(f"{volume.mount_path.rstrip('/')}/")


def _explain_path(path: str, runner: ClusterRunnerConfig) -> str:
    places = ["an address in a bucket (gs://bucket/folder)"]
    if isinstance(runner, KubeflowRunnerConfig) and runner.volume:
        places.append(f"a path on the volume ({runner.volume.mount_path}/…)")
    places.append(f"a file that the image holds ({', '.join(f'{name}/' for name in _IN_IMAGE)})")
    kind = "Vertex AI" if isinstance(runner, VertexRunnerConfig) else "Kubeflow Pipelines"
    return (
        f"must be {', or '.join(places)}: the containers of {kind} do not see this machine's files. Received: {path!r}."
    )
