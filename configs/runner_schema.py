"""Where a run happens: the sections of a runner's YAML, with their types, ranges and defaults.

What a run is stands in `configs.schema`. What needs knowledge from elsewhere (options that Beam knows, machines that a
region has) is checked in `pipeline.runner_checks`.
"""

import re
import zoneinfo
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from configs.folders import find_folder_problem, find_shell_word
from configs.section import EnvironmentName, HostName, HostOrSocketFolder, Name, Section

DEFAULT_RESOURCES = "default"
# What a scheduled run may be given at its start, unless the YAML says otherwise.
PARAMETERS = ["data.path", "train.learning_rate", "train.epochs", "train.max_steps", "train.batch_size", "train.seed"]
_LABEL = re.compile(r"[a-z0-9_-]{0,63}")


def _check_root(value: str) -> str:
    if problem := find_folder_problem(value):
        raise ValueError(problem)
    return value


def _check_path(value: str) -> str:
    if problem := find_shell_word(value):
        raise ValueError(problem)
    return value


class SqliteSection(Section):
    """The metadata store in a file; relative paths are below the runner's `root`."""

    kind: Literal["sqlite"]
    path: Annotated[Name, AfterValidator(_check_path)] = "metadata.sqlite"


class DatabaseSection(Section):
    """The metadata store on a database server.

    The password is never in YAML: it is in the environment variable `password_env`, or in `password_file` if that is given.
    """

    host: HostName = "127.0.0.1"
    port: int = Field(ge=1, le=65535)
    database: Name
    user: Name
    password_env: EnvironmentName
    password_file: Name | None = None


class MysqlSection(DatabaseSection):
    """The metadata store on a MySQL or MariaDB server."""

    kind: Literal["mysql"]
    port: int = Field(3306, ge=1, le=65535)
    password_env: EnvironmentName = "MLMD_MYSQL_PASSWORD"


class PostgresqlSection(DatabaseSection):
    """The metadata store on a PostgreSQL server."""

    kind: Literal["postgresql"]
    host: HostOrSocketFolder = "127.0.0.1"
    database: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    port: int = Field(5432, ge=1, le=65535)
    password_env: EnvironmentName = "MLMD_POSTGRESQL_PASSWORD"


class GrpcSection(Section):
    """The metadata store behind ML Metadata's own server, as Kubeflow Pipelines installs it."""

    kind: Literal["grpc"]
    host: HostName = "metadata-grpc-service"
    port: int = Field(8080, ge=1, le=65535)


MetadataSection = Annotated[SqliteSection | MysqlSection | PostgresqlSection | GrpcSection, Field(discriminator="kind")]


class BeamSection(Section):
    """What runs the Beam pipelines inside of the nodes.

    `mode` is of the direct runner: one process, or `workers` processes (0: one a core). `options` are Beam's own, by the names
    that Beam gives them.
    """

    runner: Literal["direct", "flink", "spark", "dataflow"] = "direct"
    mode: Literal["in_memory", "multi_processing"] = "in_memory"
    workers: int = Field(0, ge=0, le=1024)
    options: dict[Name, bool | int | float | str | list[str]] = {}


class AcceleratorSection(Section):
    """Accelerators of one container: `nvidia.com/gpu` on Kubernetes, a name such as `NVIDIA_L4` on Vertex AI."""

    type: Name
    count: int = Field(1, ge=1, le=16)


class ResourcesSection(Section):
    """What one node's container may use."""

    cpu: float | None = Field(None, gt=0)
    memory_gib: float | None = Field(None, gt=0)
    accelerator: AcceleratorSection | None = None


class LocalRunnerConfig(Section):
    """This machine. `max_parallel_nodes` is how many nodes may run side by side."""

    kind: Literal["local"]
    root: Annotated[str, AfterValidator(_check_root), Field(validate_default=True)] = "runs"
    metadata: MetadataSection = SqliteSection(kind="sqlite")
    beam: BeamSection = BeamSection()
    max_parallel_nodes: int | Literal["auto"] = "auto"

    @field_validator("max_parallel_nodes")
    @classmethod
    def _check_nodes(cls, value: Any) -> Any:
        if value != "auto" and value < 1:
            raise ValueError("must be at least 1, or auto")
        return value


class ClusterRunnerConfig(Section):
    """What Kubeflow Pipelines and Vertex AI have in common.

    `image` holds the code; `parameters` are the keys of a run that become parameters of the compiled pipeline.
    """

    image: Name | None = None
    pipeline_root: Name
    beam: BeamSection = BeamSection()
    resources: dict[Name, ResourcesSection] = {}
    parameters: list[Name] = PARAMETERS

    @field_validator("parameters")
    @classmethod
    def _check_parameters(cls, value: list[str]) -> list[str]:
        if unknown := [key for key in value if key not in PARAMETERS]:
            raise ValueError(f"may hold {', '.join(PARAMETERS)}; not {', '.join(unknown)}")
        return value


class VolumeSection(Section):
    """A persistent volume claim, mounted into every container; must be ReadWriteMany if nodes run on several machines."""

    claim: Name
    mount_path: Annotated[str, Field(pattern=r"^/.+")]


class SecretSection(Section):
    """A key of a Kubernetes secret that becomes the environment variable `env` of every container."""

    env: EnvironmentName
    secret: Name
    key: Name


class KubeflowRunnerConfig(ClusterRunnerConfig):
    """Open-source Kubeflow Pipelines.

    `pipeline_root` is an address in a bucket or a folder below the volume's `mount_path`. Without `host`, kfp's own rules
    find the API (its configuration file, the cluster it runs in). `schedule_timezone` is the one time zone in which the
    installation reads all cron expressions (its setting `cronScheduleTimezone`); it cannot be asked for, so it is told here.
    """

    kind: Literal["kubeflow"]
    metadata: Annotated[MysqlSection | GrpcSection, Field(discriminator="kind")] = GrpcSection(kind="grpc")
    host: Name | None = None
    namespace: Name | None = None
    experiment: Name = "Default"
    service_account: Name | None = None
    schedule_timezone: Name = "UTC"
    volume: VolumeSection | None = None
    secrets: list[SecretSection] = []

    @field_validator("schedule_timezone")
    @classmethod
    def _check_timezone(cls, value: str) -> str:
        if value not in zoneinfo.available_timezones():
            raise ValueError("must be an IANA name such as UTC or Europe/Berlin")
        return value

    @model_validator(mode="after")
    def _check_root(self) -> Self:
        is_mounted = self.volume and f"{self.pipeline_root}/".startswith(f"{self.volume.mount_path.rstrip('/')}/")
        if not is_mounted and not re.fullmatch(r"gs://[^/]+(/.*)?", self.pipeline_root):
            raise ValueError(
                "`pipeline_root` must be gs://bucket/folder, or a folder below `volume.mount_path`. "
                f"Received: {self.pipeline_root!r}"
            )
        return self


class WorkerPoolSection(Section):
    """The machines of a Vertex custom job that trains: `replicas` of `machine_type`, each with accelerators."""

    machine_type: Name
    accelerator_type: Name | None = None
    accelerator_count: int = Field(0, ge=0, le=16)
    tpu_topology: Name | None = None
    replicas: int = Field(1, ge=1, le=64)
    timeout_hours: float = Field(24, gt=0, le=168)


class EndpointSection(Section):
    """The Vertex endpoint that a blessed model is pushed to."""

    name: Name
    machine_type: Name = "n1-standard-4"
    serving_image: Name = "us-docker.pkg.dev/vertex-ai/prediction/tf2-cpu.2-15:latest"
    min_replicas: int = Field(1, ge=1)
    max_replicas: int = Field(1, ge=1)


class VertexRunnerConfig(ClusterRunnerConfig):
    """Vertex AI Pipelines. Credentials come from the environment (Application Default Credentials), never from YAML."""

    kind: Literal["vertex"]
    project: Name
    region: Name
    service_account: Name | None = None
    network: Name | None = None
    encryption_key: Name | None = None
    labels: dict[Name, str] = {}
    trainer: WorkerPoolSection | None = None
    endpoint: EndpointSection | None = None

    @field_validator("pipeline_root")
    @classmethod
    def _check_root(cls, value: str) -> str:
        if not re.fullmatch(r"gs://[^/]+(/.*)?", value):
            raise ValueError("must be gs://bucket/folder")
        return value

    @field_validator("labels")
    @classmethod
    def _check_labels(cls, value: dict[str, str]) -> dict[str, str]:
        bad = [f"{k}={v}" for k, v in value.items() if not (_LABEL.fullmatch(k) and _LABEL.fullmatch(v))]
        if bad:
            raise ValueError(f"may hold a-z, 0-9, _ and -, up to 63 of them; not {', '.join(bad)}")
        return value


RunnerConfig = Annotated[
    LocalRunnerConfig | KubeflowRunnerConfig | VertexRunnerConfig,
    Field(discriminator="kind"),
]


def find_resources(runner: ClusterRunnerConfig, node_id: str) -> ResourcesSection | None:
    """Returns what a node may use: its own section, or the default one."""
    return runner.resources.get(node_id) or runner.resources.get(DEFAULT_RESOURCES)
