"""What would fail on a cluster is found together, before anything is compiled or submitted."""

from pathlib import Path

import pytest

from configs.load import ConfigError
from configs.runner_schema import BeamSection, KubeflowRunnerConfig, LocalRunnerConfig, VertexRunnerConfig
from pipeline.runner_checks import (
    check_run,
    find_image_problem,
    find_local_problems,
    find_root_problem,
    find_runner_problems,
    require_valid_run,
)
from pipeline.validate import load_config

ROOT = Path(__file__).resolve().parents[2]
RUN = "configs/runs/tiny_gpt2_en_lora.yaml"
IMAGE = "registry.example/lm:1.0"
VERTEX = {
    "kind": "vertex",
    "project": "my-project",
    "region": "us-central1",
    "pipeline_root": "gs://my-bucket/x",
    "image": IMAGE,
}
KUBEFLOW = {
    "kind": "kubeflow",
    "pipeline_root": "/mnt/pipeline/runs",
    "volume": {"claim": "lm", "mount_path": "/mnt/pipeline"},
    "image": IMAGE,
}


def make_vertex(**changes):
    return VertexRunnerConfig.model_validate(VERTEX | changes)


def make_kubeflow(**changes):
    return KubeflowRunnerConfig.model_validate(KUBEFLOW | changes)


@pytest.fixture
def load(monkeypatch):
    monkeypatch.chdir(ROOT)
    return lambda *overrides: load_config(RUN, overrides, "/mnt/pipeline")


@pytest.mark.parametrize("runner", [make_vertex(), make_kubeflow()], ids=lambda runner: runner.kind)
def test_the_sample_run_is_good(load, runner):
    config = load()
    assert check_run(config, runner) == (config, [])


def test_everything_is_told_at_once_by_its_key(load):
    runner = make_vertex(
        image="lm:latest",
        pipeline_root="gs://B/x",
        region="us-central1-a",
        labels={"1": ""},
        network="default",
        resources={"Trainr": {"cpu": 1}, "Trainer": {"accelerator": {"type": "NVIDIA_L5"}}},
        trainer={"machine_type": "n1-standard-8", "replicas": 2},
        beam={"workers": 3},
    )
    config = load("train.strategy=one_device", f"data.path={__file__}", "data.format=jsonl")
    with pytest.raises(ConfigError) as caught:
        require_valid_run(config, RUN, runner)
    assert [problem.key for problem in caught.value.problems] == [
        "data.path",
        "runner.beam.workers",
        "runner.image",
        "runner.labels.1",
        "runner.network",
        "runner.pipeline_root",
        "runner.region",
        "runner.resources.Trainer.accelerator.type",
        "runner.resources.Trainr",
        "train.strategy",
    ]
    assert str(caught.value).startswith(f"{RUN} has 10 problems\n")


def test_a_strategy_that_the_machines_need_and_a_contradiction_in_the_runner(load):
    runner = make_vertex(trainer={"machine_type": "n1-standard-8", "replicas": 2})
    changed, problems = check_run(load(), runner)
    assert (changed.train.strategy, problems) == ("multi_worker_mirrored", [])
    tpu = {"machine_type": "ct5lp-hightpu-4t", "tpu_topology": "2x2", "replicas": 2}
    _, problems = check_run(load(), make_vertex(trainer=tpu))
    assert [problem.key for problem in problems] == ["runner.trainer.replicas"]


@pytest.mark.parametrize(
    ("overrides", "name", "hint"),
    [
        ([], "TokenScorer", None),
        (["token_cleaning.strategy=random"], "TokenScorer", "good"),
        (["token_cleaning.strategy=random"], "tokenscorer", "Did you mean `TokenScorer`?"),
        ([], "EndpointPusher", None),
        ([], "default", "good"),
        ([], "Predictor", "Did you mean `"),
    ],
)
def test_resources_of_nodes_that_the_run_does_not_have(load, overrides, name, hint):
    problems = find_runner_problems(load(*overrides), make_kubeflow(resources={name: {"cpu": 1}}))
    if hint == "good":
        assert problems == []
        return
    (problem,) = problems
    assert problem.key == f"runner.resources.{name}"
    assert hint is None or hint in problem.message
    assert problem.message.endswith(f"Received: {name!r}.")


@pytest.mark.parametrize(
    ("path", "is_found"),
    [
        ("/mnt/pipeline/data/train.jsonl", True),
        ("/mnt/pipeline/data/{SPAN}/train.jsonl", True),
        ("gs://my-bucket/data/*.jsonl", True),
        ("data/sample/instructions.jsonl", True),
        (str(ROOT / "data/sample/instructions.jsonl"), True),
        ("gs://B/data.jsonl", False),
        (__file__, False),
    ],
)
def test_data_that_containers_find(load, path, is_found):
    config = load(f"data.path={path}", "data.format=jsonl")
    moved, problems = check_run(config, make_kubeflow())
    assert [problem.key for problem in problems] == ([] if is_found else ["data.path"])
    if is_found:
        assert moved.data.path == path.removeprefix(f"{ROOT}/")
    else:
        assert "a path on the volume (/mnt/pipeline/…)" in problems[0].message


@pytest.mark.parametrize(
    ("image", "is_good"),
    [
        ("registry/name:1", True),
        ("registry:5000/a/b:v1.2-3_x", True),
        (f"registry/name@sha256:{'0' * 64}", True),
        (None, False),
        ("registry/name", False),
        ("registry:5000/name", False),
        ("registry/name:latest", False),
        ("registry/name:", False),
        ("registry/na me:1", False),
        ("registry/name@sha256:12", False),
    ],
)
def test_images(image, is_good):
    assert (find_image_problem(image) is None) is is_good


@pytest.mark.parametrize(
    ("beam", "root", "part"),
    [
        ({"runner": "direct"}, "runs", None),
        ({"runner": "dataflow"}, "gs://bucket/runs", None),
        ({"runner": "flink"}, "gs://bucket/runs", None),
        ({"runner": "flink"}, "/mnt/shared/runs", None),
        ({"runner": "flink", "options": {"environment_type": "LOOPBACK"}}, "runs", None),
        ({"runner": "spark", "options": {"environment_config": "localhost:50000"}}, "runs", None),
        (
            {"runner": "spark", "options": {"environment_config": "pool.example:50000"}},
            "runs",
            "the workers of spark see",
        ),
        ({"runner": "flink"}, "runs", "must be the full path of a volume"),
        ({"runner": "dataflow"}, "runs", "must be in a bucket"),
        ({"runner": "dataflow"}, "/mnt/shared/runs", "must be in a bucket"),
    ],
)
def test_a_root_that_the_workers_of_beam_do_not_see(beam, root, part):
    problem = find_root_problem(BeamSection.model_validate(beam), root)
    assert problem is None if part is None else part in problem


def test_this_machine():
    assert find_local_problems(LocalRunnerConfig(kind="local")) == []
    beam = BeamSection(runner="flink", options={"job_endpoint": "localhost:8099", "environment_type": "DOCKER"})
    problems = find_local_problems(LocalRunnerConfig(kind="local", beam=beam))
    assert [problem.key for problem in problems] == ["beam.options.environment_config", "root"]


def test_dataflow_reads_no_volume(load):
    options = {"project": "p-project", "region": "us-central1", "temp_location": "gs://my-bucket/temp"}
    runner = make_kubeflow(beam={"runner": "dataflow", "options": options})
    assert [problem.key for problem in find_runner_problems(load(), runner)] == ["runner.pipeline_root"]
    # On Vertex AI the places for temporary files are below the root.
    options.pop("temp_location")
    assert find_runner_problems(load(), make_vertex(beam={"runner": "dataflow", "options": options})) == []
