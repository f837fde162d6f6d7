"""What Vertex AI would refuse of a runner, found without asking it."""

import re
from collections.abc import Iterator

from components.options import nearest
from configs.load import Problem
from configs.runner_schema import VertexRunnerConfig
from configs.schema import RunConfig, TrainSection
from pipeline.vertex.machines import ACCELERATORS, TPUS, find_machine_problems
from pipeline.vertex.trainer import choose_strategy, find_strategy_problems

MAX_LABELS = 63  # 64, one of which is the pipeline's name
_REGION = re.compile(r"[a-z]+-[a-z]+[0-9]+")
_NETWORK = re.compile(r"projects/[0-9]+/global/networks/[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
_KEY = re.compile(r"projects/[^/\s]+/locations/(?P<location>[a-z0-9-]+)/keyRings/[\w-]{1,63}/cryptoKeys/[\w-]{1,63}")


def find_vertex_problems(runner: VertexRunnerConfig) -> list[Problem]:
    """Returns what is wrong with names and machines; keys are those of the runner's YAML."""
    return [*_find_name_problems(runner), *_find_machine_problems(runner)]


def apply_machines(config: RunConfig, runner: VertexRunnerConfig) -> tuple[RunConfig, list[Problem]]:
    """Returns the run with the strategy that the training's machines need, and where it contradicts them.

    A reference model of token cleaning trains on the same machines. Keys that begin with `trainer` are the runner's.
    """
    pool = runner.trainer
    if pool is None:
        return config, []
    content = config.model_dump(mode="json")
    sections = [("train", config.train, content["train"])]
    cleaning = config.token_cleaning
    if cleaning.strategy == "fixed" and cleaning.reference.preset is None:
        reference = content["token_cleaning"]["reference"]["train"]
        sections.append(("token_cleaning.reference.train", cleaning.reference.train, reference))
    problems: list[Problem] = []
    for key, train, target in sections:
        problems += _find_train_problems(key, train, runner)
        target["strategy"] = choose_strategy(pool, train.strategy, train.backend)
    return (config, problems) if problems else (RunConfig.model_validate(content), [])


def _find_train_problems(key: str, train: TrainSection, runner: VertexRunnerConfig) -> Iterator[Problem]:
    assert runner.trainer is not None
    for problem in find_strategy_problems(runner.trainer, train.strategy, train.backend):
        place = problem.key
        yield Problem(f"{key}.{place.removeprefix('train.')}" if place.startswith("train.") else place, problem.message)


def _find_name_problems(runner: VertexRunnerConfig) -> Iterator[Problem]:
    if not _REGION.fullmatch(runner.region):
        regions = {name for each in (*ACCELERATORS.values(), *TPUS.values()) for name in each.regions}
        near = nearest(runner.region, sorted(regions))
        yield Problem(
            "region",
            f"must be a region such as us-central1, not a zone or a continent.{near} Received: {runner.region!r}.",
        )
    if runner.network is not None and not _NETWORK.fullmatch(runner.network):
        yield Problem(
            "network",
            "must be projects/NUMBER/global/networks/NAME, with the project's number, not its name (gcloud projects describe "
            f"{runner.project} --format 'value(projectNumber)'). Received: {runner.network!r}.",
        )
    if runner.encryption_key is not None:
        match = _KEY.fullmatch(runner.encryption_key)
        if match is None:
            form = f"projects/PROJECT/locations/{runner.region}/keyRings/RING/cryptoKeys/KEY"
            yield Problem("encryption_key", f"must be {form}. Received: {runner.encryption_key!r}.")
        elif match["location"] != runner.region:
            yield Problem(
                "encryption_key",
                f"must be of the runner's region, {runner.region}. Received one of {match['location']}.",
            )
    for key in runner.labels:
        if not re.match("[a-z]", key):
            yield Problem(f"labels.{key}", f"the key must begin with a small letter. Received: {key!r}.")
    if len(runner.labels) > MAX_LABELS:
        yield Problem("labels", f"must be at most {MAX_LABELS}. Received: {len(runner.labels)}.")


def _find_machine_problems(runner: VertexRunnerConfig) -> Iterator[Problem]:
    if pool := runner.trainer:
        for key, message in find_machine_problems(
            pool.machine_type, pool.accelerator_type, pool.accelerator_count, pool.tpu_topology, runner.region
        ):
            yield Problem(f"trainer.{key}", message)
    for node_id, section in runner.resources.items():
        if accelerator := section.accelerator:
            found = find_machine_problems(None, accelerator.type, accelerator.count, None, runner.region)
            for key, message in found:
                place = key.removeprefix("accelerator_")
                yield Problem(f"resources.{node_id}.accelerator.{place}", message)
