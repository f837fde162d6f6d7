"""Training as a Vertex AI custom job: the job that TFX's executor starts, and the strategy that its machines need."""

from typing import Any

from configs.load import Problem
from configs.runner_schema import VertexRunnerConfig, WorkerPoolSection
from pipeline.vertex.machines import find_tpu


def make_custom_job_config(
    runner: VertexRunnerConfig, image: str, *, display_name: str = "trainer", environment: dict[str, str] | None = None
) -> dict[str, Any]:
    """Returns the entries of a Trainer's `custom_config` that make it a custom job on `runner.trainer`.

    They are read by `components.trainer.vertex_executor.VertexExecutor`, which makes the job's command, and can be
    written as JSON.

    Args:
        runner: Has a section `trainer`.
        image: Container image with the code.
        display_name: Of the job.
        environment: Variables of the job's containers, besides those of the image.

    Raises:
        ValueError: If there is no section `trainer`.
    """
    pool = runner.trainer
    if pool is None:
        raise ValueError("the runner has no section `trainer`, so there is no custom job")
    job_spec: dict[str, Any] = {
        "worker_pool_specs": _make_pools(pool, image, environment or {}),
        "scheduling": {"timeout": {"seconds": round(pool.timeout_hours * 3600)}},
    }
    if runner.service_account:
        job_spec["service_account"] = runner.service_account
    if runner.network:
        job_spec["network"] = runner.network
    job: dict[str, Any] = {
        "project": runner.project,
        "display_name": display_name,
        "labels": dict(runner.labels),
        "job_spec": job_spec,
    }
    if runner.encryption_key:
        job["encryption_spec"] = {"kms_key_name": runner.encryption_key}
    return {
        "ai_platform_enable_vertex": True,
        "ai_platform_vertex_region": runner.region,
        "ai_platform_training_args": job,
    }


def _make_pools(pool: WorkerPoolSection, image: str, environment: dict[str, str]) -> list[dict[str, Any]]:
    """The chief in a pool of its own, all other workers in a second one: so Vertex AI names them in TF_CONFIG."""
    machine: dict[str, Any] = {"machine_type": pool.machine_type}
    if pool.accelerator_type:
        machine |= {"accelerator_type": pool.accelerator_type, "accelerator_count": pool.accelerator_count}
    if pool.tpu_topology:
        machine["tpu_topology"] = pool.tpu_topology
    variables = [{"name": name, "value": value} for name, value in sorted(environment.items())]
    counts = [1] if pool.replicas == 1 else [1, pool.replicas - 1]
    return [
        {
            "machine_spec": dict(machine),
            "replica_count": count,
            "container_spec": {"image_uri": image, "env": [dict(each) for each in variables]},
        }
        for count in counts
    ]


def choose_strategy(pool: WorkerPoolSection, strategy: str, backend: str = "tensorflow") -> str:
    """Returns `strategy`, or the one that the machines need if it is `auto`.

    Args:
        pool: The machines.
        strategy: The run's `train.strategy`.
        backend: The run's `train.backend`.
    """
    return _list_strategies(pool, backend)[0] if strategy == "auto" else strategy


def find_strategy_problems(pool: WorkerPoolSection, strategy: str, backend: str = "tensorflow") -> list[Problem]:
    """Returns where the run's `train.strategy` and `train.backend` contradict the runner's machines."""
    machines, problems = _describe(pool), []
    tpu = find_tpu(pool.machine_type)
    if tpu and pool.replicas > 1:
        message = f"must be 1 with a TPU: a custom job has one machine then. Received: {pool.replicas}."
        problems.append(Problem("trainer.replicas", message))
    elif backend == "jax" and pool.replicas > 1:
        message = (
            f"must be 1 for train.backend jax, which spreads over the devices of one machine. Received: {pool.replicas}. Take "
            "a machine with more accelerators, or set train.backend: tensorflow."
        )
        problems.append(Problem("trainer.replicas", message))
    if tpu == "TPU v6e" and backend == "tensorflow":
        message = (
            "must be jax on TPU v6e, for which there is no TensorFlow. Received: 'tensorflow'. Set train.backend: jax, or "
            "take a TPU v5e (ct5lp) machine."
        )
        problems.append(Problem("train.backend", message))
    fitting = _list_strategies(pool, backend)
    if strategy not in ("auto", *fitting):
        message = (
            f"must be {' or '.join(fitting)}, or auto, on {machines} (trainer). Received: {strategy!r}. Set train.strategy: auto, "
            "or change the runner's `trainer`."
        )
        problems.append(Problem("train.strategy", message))
    return problems


def _list_strategies(pool: WorkerPoolSection, backend: str) -> list[str]:
    """What fits the machines; the first is what `auto` becomes."""
    tpu, count = find_tpu(pool.machine_type), pool.accelerator_count
    if backend == "jax":
        chips = int(pool.machine_type.rpartition("-")[2].rstrip("t")) if tpu else count
        return ["data_parallel", "model_parallel"] if chips > 1 else ["one_device"]
    if tpu:
        return ["tpu"]
    if pool.replicas > 1:
        return ["multi_worker_mirrored"]
    return ["mirrored"] if count > 1 else ["one_device"]


def _describe(pool: WorkerPoolSection) -> str:
    devices = f" with {pool.accelerator_count} x {pool.accelerator_type}" if pool.accelerator_type else ""
    return f"{pool.replicas} x {pool.machine_type}{devices}"
