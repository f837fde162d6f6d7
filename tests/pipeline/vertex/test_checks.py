"""What Vertex AI would refuse of a runner."""

from pathlib import Path

import pytest

from configs.runner_schema import VertexRunnerConfig
from pipeline.validate import load_config
from pipeline.vertex.checks import apply_machines, find_vertex_problems

ROOT = Path(__file__).resolve().parents[3]
L4 = {"machine_type": "g2-standard-24", "accelerator_type": "NVIDIA_L4", "accelerator_count": 2}
REFERENCE = "token_cleaning.reference.train"


def make_runner(**changes):
    content = {
        "kind": "vertex",
        "project": "my-project",
        "region": "us-central1",
        "pipeline_root": "gs://b/x",
        **changes,
    }
    return VertexRunnerConfig.model_validate(content)


@pytest.fixture
def load(monkeypatch):
    monkeypatch.chdir(ROOT)
    return lambda *overrides: load_config("configs/runs/tiny_gpt2_en_lora.yaml", overrides)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"region": "northamerica-northeast2"},
        {"region": "europe-west12"},
        {"network": "projects/123456/global/networks/private-1"},
        {"encryption_key": "projects/p/locations/us-central1/keyRings/r_1/cryptoKeys/K-1"},
        {"labels": {"team": "", "cost_centre": "12"}},
        {"trainer": L4},
        {"resources": {"Trainer": {"accelerator": {"type": "NVIDIA_L4"}}, "default": {"cpu": 4}}},
    ],
)
def test_what_is_good(changes):
    assert find_vertex_problems(make_runner(**changes)) == []


@pytest.mark.parametrize(
    ("changes", "key", "part"),
    [
        ({"region": "us-central1-a"}, "region", "Did you mean `us-central1`?"),
        ({"region": "global"}, "region", "not a zone or a continent. Received: 'global'."),
        ({"network": "default"}, "network", "projects/NUMBER/global/networks/NAME"),
        ({"network": "projects/my-project/global/networks/default"}, "network", "gcloud projects describe my-project"),
        (
            {"network": "projects/1/global/networks/Private"},
            "network",
            "Received: 'projects/1/global/networks/Private'",
        ),
        (
            {"encryption_key": "projects/p/locations/us-central1/keyRings/r"},
            "encryption_key",
            "must be projects/PROJECT/locations/us-central1/keyRings/RING/cryptoKeys/KEY.",
        ),
        (
            {"encryption_key": "projects/p/locations/europe-west4/keyRings/r/cryptoKeys/k"},
            "encryption_key",
            "must be of the runner's region, us-central1. Received one of europe-west4.",
        ),
        ({"labels": {"1team": "x"}}, "labels.1team", "must begin with a small letter"),
        ({"labels": {"_team": "x"}}, "labels._team", "must begin with a small letter"),
        ({"labels": {f"l{i}": "" for i in range(64)}}, "labels", "must be at most 63. Received: 64."),
        ({"trainer": L4 | {"accelerator_count": 1}}, "trainer.accelerator_count", "must be 2 for NVIDIA_L4"),
        ({"trainer": L4, "region": "us-west4"}, "trainer.accelerator_type", "not available for training in us-west4"),
        (
            {"resources": {"Trainer": {"accelerator": {"type": "nvidia.com/gpu"}}}},
            "resources.Trainer.accelerator.type",
            "must be one of NVIDIA_TESLA_P4",
        ),
        (
            {"resources": {"default": {"accelerator": {"type": "NVIDIA_L4", "count": 3}}}},
            "resources.default.accelerator.count",
            "must be 1 or 2 or 4 or 8 for NVIDIA_L4",
        ),
    ],
)
def test_each_problem(changes, key, part):
    (problem,) = find_vertex_problems(make_runner(**changes))
    assert problem.key == key
    assert part in problem.message


def test_the_strategy_is_what_the_machines_need(load):
    config = load("train.strategy=auto")
    changed, problems = apply_machines(config, make_runner(trainer=L4))
    assert (changed.train.strategy, problems) == ("mirrored", [])
    assert apply_machines(config, make_runner()) == (config, [])


def test_a_reference_model_trains_on_the_same_machines(load):
    fixed = "token_cleaning.strategy=fixed"
    runner = make_runner(trainer=L4)
    changed, problems = apply_machines(load(fixed), runner)
    assert (changed.train.strategy, changed.token_cleaning.reference.train.strategy, problems) == (
        "mirrored",
        "mirrored",
        [],
    )
    config = load(fixed, f"{REFERENCE}.strategy=one_device")
    unchanged, (problem,) = apply_machines(config, runner)
    assert problem.key == f"{REFERENCE}.strategy"
    assert unchanged == config
    # Without one, its options do not matter.
    assert apply_machines(load(f"{REFERENCE}.strategy=one_device"), runner)[1] == []
    assert apply_machines(config.model_copy(update={"token_cleaning": load().token_cleaning}), runner)[1] == []
