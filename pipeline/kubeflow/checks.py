"""What a container on Kubeflow Pipelines would fail on, found without asking the cluster."""

import re
from collections.abc import Iterator

from configs.load import Problem
from configs.runner_schema import KubeflowRunnerConfig, MysqlSection

# A resource of Kubernetes that is not its own: a domain and a name.
_EXTENDED_RESOURCE = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?/[A-Za-z0-9]([\w.-]*[A-Za-z0-9])?")


def find_kubeflow_problems(runner: KubeflowRunnerConfig) -> Iterator[Problem]:
    """Yields what is wrong; keys are those of the runner's YAML."""
    for node_id, section in runner.resources.items():
        if section.accelerator and not _EXTENDED_RESOURCE.fullmatch(section.accelerator.type):
            yield Problem(
                f"resources.{node_id}.accelerator.type",
                "must be a resource of Kubernetes such as nvidia.com/gpu (kubectl describe nodes). "
                f"Received: {section.accelerator.type!r}.",
            )
    metadata = runner.metadata
    if (
        isinstance(metadata, MysqlSection)
        and not metadata.password_file
        and metadata.password_env not in {s.env for s in runner.secrets}
    ):
        yield Problem(
            "secrets",
            f"must give every container {metadata.password_env}, the password of `metadata`: "
            f"{{env: {metadata.password_env}, secret: NAME, key: KEY}} of a Kubernetes secret.",
        )
