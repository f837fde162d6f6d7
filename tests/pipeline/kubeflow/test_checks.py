"""What a container on Kubeflow Pipelines would fail on."""

import pytest

from configs.runner_schema import KubeflowRunnerConfig
from pipeline.kubeflow.checks import find_kubeflow_problems

MYSQL = {"kind": "mysql", "database": "mlmd", "user": "mlmd"}
SECRET = {"env": "MLMD_MYSQL_PASSWORD", "secret": "mlmd", "key": "password"}


@pytest.mark.parametrize(
    ("changes", "keys"),
    [
        ({}, []),
        ({"resources": {"Trainer": {"accelerator": {"type": "nvidia.com/gpu"}}}}, []),
        ({"resources": {"Trainer": {"accelerator": {"type": "nvidia.com/mig-1g.5gb"}}}}, []),
        ({"resources": {"Trainer": {"accelerator": {"type": "NVIDIA_L4"}}}}, ["resources.Trainer.accelerator.type"]),
        ({"metadata": MYSQL, "secrets": [SECRET]}, []),
        ({"metadata": MYSQL}, ["secrets"]),
        ({"metadata": MYSQL | {"password_env": "OTHER"}, "secrets": [SECRET]}, ["secrets"]),
    ],
)
def test_problems(changes, keys):
    runner = KubeflowRunnerConfig.model_validate({"kind": "kubeflow", "pipeline_root": "gs://bucket/x", **changes})
    found = list(find_kubeflow_problems(runner))
    assert [problem.key for problem in found] == keys
    assert all(problem.message.startswith("must ") for problem in found)
