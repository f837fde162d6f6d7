"""The custom job, as TFX's own client makes it."""

import json

import pytest
from google.cloud.aiplatform_v1.types import AcceleratorType, CustomJob
from tfx.extensions.google_cloud_ai_platform.training_clients import VertexJobClient

from configs.load import Problem
from configs.runner_schema import VertexRunnerConfig, WorkerPoolSection
from pipeline.vertex.trainer import choose_strategy, find_strategy_problems, make_custom_job_config

CPU = {"machine_type": "n1-standard-8"}
L4 = {"machine_type": "g2-standard-12", "accelerator_type": "NVIDIA_L4", "accelerator_count": 1}
H100 = {"machine_type": "a3-highgpu-8g", "accelerator_type": "NVIDIA_H100_80GB", "accelerator_count": 8}
V5E = {"machine_type": "ct5lp-hightpu-4t", "tpu_topology": "2x2"}
V6E = {"machine_type": "ct6e-standard-4t", "tpu_topology": "2x2"}


def make_runner(pool, **fields):
    return VertexRunnerConfig(
        kind="vertex",
        project="p",
        region="us-central1",
        pipeline_root="gs://b/r",
        trainer=WorkerPoolSection(**pool),
        **fields,
    )


def make_job(runner, **options):
    """The CustomJob that TFX posts, and its containers' commands."""
    config = json.loads(json.dumps(make_custom_job_config(runner, "registry/image:1", **options)))
    assert (config["ai_platform_enable_vertex"], config["ai_platform_vertex_region"]) == (True, "us-central1")
    arguments = config["ai_platform_training_args"]
    assert arguments.pop("project") == "p"  # where TFX takes it from
    client = object.__new__(VertexJobClient)
    client._region = "us-central1"
    made = client.create_training_job({}, {}, {}, "components.trainer.executor.Executor", arguments, None, None)
    job = CustomJob(**made)
    job.labels = {key: value for key, value in job.labels.items() if not key.startswith("tfx_")}
    return job


@pytest.mark.parametrize(
    ("pool", "machine", "counts"),
    [
        (CPU, {"machine_type": "n1-standard-8"}, [1]),
        (L4, L4 | {"accelerator_type": AcceleratorType.NVIDIA_L4}, [1]),
        (H100, H100 | {"accelerator_type": AcceleratorType.NVIDIA_H100_80GB}, [1]),
        (L4 | {"replicas": 2}, L4 | {"accelerator_type": AcceleratorType.NVIDIA_L4}, [1, 1]),
        (H100 | {"replicas": 4}, H100 | {"accelerator_type": AcceleratorType.NVIDIA_H100_80GB}, [1, 3]),
        (V5E, V5E, [1]),
    ],
)
def test_the_machines_are_those_of_the_runner(pool, machine, counts):
    job = make_job(make_runner(pool))
    command = [
        *["python", "-m", "tfx.scripts.run_executor", "--executor_class_path", "components.trainer.executor.Executor"],
        *["--inputs", "{}", "--outputs", "{}", "--exec-properties", "{}"],
    ]
    container = {"image_uri": "registry/image:1", "command": command}
    pools = [{"machine_spec": machine, "replica_count": count, "container_spec": container} for count in counts]
    # TFX always sets the key; an empty one is none.
    spec = {"worker_pool_specs": pools, "scheduling": {"timeout": {"seconds": 86400}}}
    assert job == CustomJob(display_name="trainer", job_spec=spec, encryption_spec={})


def test_account_network_key_and_labels_are_those_of_the_runner():
    key = "projects/p/locations/us-central1/keyRings/r/cryptoKeys/k"
    runner = make_runner(
        CPU | {"timeout_hours": 1.5},
        service_account="a@p.iam.gserviceaccount.com",
        network="projects/1/global/networks/n",
        encryption_key=key,
        labels={"team": "language"},
    )
    job = make_job(runner, display_name="tiny-lora-Trainer", environment={"TF_X": "1", "KERAS_BACKEND": "jax"})
    assert job.display_name == "tiny-lora-Trainer"
    assert job.labels == {"team": "language"}
    assert job.encryption_spec.kms_key_name == key
    assert job.job_spec.service_account == "a@p.iam.gserviceaccount.com"
    assert job.job_spec.network == "projects/1/global/networks/n"
    assert job.job_spec.scheduling.timeout.seconds == 5400
    (pool,) = job.job_spec.worker_pool_specs
    assert [(each.name, each.value) for each in pool.container_spec.env] == [("KERAS_BACKEND", "jax"), ("TF_X", "1")]


def test_without_machines_there_is_no_job():
    runner = VertexRunnerConfig(kind="vertex", project="p", region="us-central1", pipeline_root="gs://b/r")
    with pytest.raises(ValueError, match="no section `trainer`"):
        make_custom_job_config(runner, "image")


@pytest.mark.parametrize(
    ("pool", "backend", "expected"),
    [
        (CPU, "tensorflow", "one_device"),
        (L4, "tensorflow", "one_device"),
        (H100, "tensorflow", "mirrored"),
        (CPU | {"replicas": 2}, "tensorflow", "multi_worker_mirrored"),
        (H100 | {"replicas": 2}, "tensorflow", "multi_worker_mirrored"),
        (V5E, "tensorflow", "tpu"),
        (L4, "jax", "one_device"),
        (H100, "jax", "data_parallel"),
        (V6E, "jax", "data_parallel"),
        ({"machine_type": "ct5lp-hightpu-1t", "tpu_topology": "1x1"}, "jax", "one_device"),
    ],
)
def test_auto_becomes_what_the_machines_need(pool, backend, expected):
    section = WorkerPoolSection(**pool)
    assert choose_strategy(section, "auto", backend) == expected
    assert find_strategy_problems(section, "auto", backend) == find_strategy_problems(section, expected, backend) == []


@pytest.mark.parametrize(
    ("pool", "strategy", "backend", "expected"),
    [
        (H100, "one_device", "tensorflow", "must be mirrored, or auto, on 1 x a3-highgpu-8g with 8 x NVIDIA_H100_80GB (trainer)"),
        (L4, "tpu", "tensorflow", "must be one_device, or auto"),
        (V5E, "mirrored", "tensorflow", "must be tpu, or auto, on 1 x ct5lp-hightpu-4t (trainer)"),
        (CPU | {"replicas": 3}, "mirrored", "tensorflow", "must be multi_worker_mirrored, or auto, on 3 x n1-standard-8"),
        (V6E, "one_device", "jax", "must be data_parallel or model_parallel, or auto"),
    ],
)  # fmt: skip
def test_a_strategy_that_contradicts_the_machines_is_a_problem(pool, strategy, backend, expected):
    (problem,) = find_strategy_problems(WorkerPoolSection(**pool), strategy, backend)
    assert problem.key == "train.strategy"
    assert expected in problem.message
    assert choose_strategy(WorkerPoolSection(**pool), strategy, backend) == strategy


def test_model_parallel_fits_several_devices():
    assert find_strategy_problems(WorkerPoolSection(**H100), "model_parallel", "jax") == []


@pytest.mark.parametrize(
    ("pool", "backend", "keys"),
    [
        (V5E | {"replicas": 2}, "tensorflow", ["trainer.replicas"]),
        (H100 | {"replicas": 2}, "jax", ["trainer.replicas"]),
        (V6E, "tensorflow", ["train.backend"]),
    ],
)
def test_machines_that_the_backend_cannot_use_are_a_problem(pool, backend, keys):
    problems = find_strategy_problems(WorkerPoolSection(**pool), "auto", backend)
    assert [problem.key for problem in problems] == keys
    assert all(isinstance(problem, Problem) for problem in problems)
