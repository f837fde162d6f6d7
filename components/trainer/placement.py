"""Where a training runs: the devices that are there, and the strategy that spreads it over them."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import keras

from components.errors import UserError
from components.trainer.layout import make_layout_map
from components.trainer.strategies import Cluster, read_cluster


@dataclasses.dataclass(frozen=True, kw_only=True)
class Placement:
    """A strategy with its devices.

    Attributes:
        name: the strategy; never `auto`.
        devices: as messages and the record name them.
        num_replicas: copies of the model that share a batch.
        native: a `tf.distribute.Strategy`, a `keras.distribution.Distribution`, or None: one device.
        cluster: this process among the workers.
    """

    name: str
    devices: tuple[str, ...]
    num_replicas: int = 1
    native: Any = None
    cluster: Cluster = dataclasses.field(default_factory=Cluster)

    def scope(self) -> contextlib.AbstractContextManager[Any]:
        """Where the model and all that has variables must be made."""
        return contextlib.nullcontext() if self.native is None else self.native.scope()

    def describe(self) -> str:
        """One line for the log."""
        kinds, plural = ", ".join(self.devices), "" if self.num_replicas == 1 else "s"
        workers = (
            f", worker {self.cluster.index + 1} of {self.cluster.num_workers}" if self.cluster.num_workers > 1 else ""
        )
        return f"{keras.backend.backend()}, {self.name} on {kinds}: {self.num_replicas} replica{plural}{workers}"


def check_precision(dtype: str, placement: Placement) -> None:
    """Checks that the devices compute in a dtype policy.

    Raises:
        UserError: they do not.
    """
    if dtype == "mixed_float16" and keras.backend.backend() == "jax" and placement.devices[0].startswith("cpu"):
        raise UserError(
            "model.dtype mixed_float16 on the JAX backend needs a GPU: XLA's matrix product of float16 with a float32 sum is not "
            f"there on CPUs. Received: {placement.devices[0]}. Use mixed_bfloat16 or float32."
        )


def make_placement(train: Mapping[str, Any], find_backbone: Callable[[], type]) -> Placement:
    """Makes the strategy that a `train` section asks for; call it before anything has variables.

    Args:
        train: with `strategy` and `mesh`.
        find_backbone: gives the class of the model's backbone, which decides how `model_parallel` cuts it.

    Raises:
        UserError: the devices are not there.
    """
    try:
        cluster = read_cluster()
    except ValueError as error:
        raise UserError(str(error)) from error
    if keras.backend.backend() == "jax":
        return _make_for_jax(train, find_backbone)
    return _make_for_tensorflow(train["strategy"], cluster)


def _make_for_tensorflow(strategy: str, cluster: Cluster) -> Placement:
    import tensorflow as tf

    gpus = tf.config.list_logical_devices("GPU") if cluster.num_workers == 1 else tf.config.list_physical_devices("GPU")
    if strategy == "auto":
        # TPUs are named by hand: asking for one where there is none can take minutes.
        several = "mirrored" if len(gpus) > 1 else "one_device"
        strategy = "multi_worker_mirrored" if cluster.num_workers > 1 else several
    match strategy:
        case "mirrored":
            devices = [device.name for device in gpus or tf.config.list_logical_devices("CPU")]
            if len(devices) < 2:
                raise UserError(
                    f"train.strategy mirrored needs at least two devices of one kind. Received: {', '.join(devices)}. "
                    "Use one_device or auto."
                )
            native = _make_mirrored(tuple(devices))
        case "multi_worker_mirrored":
            if cluster.num_workers < 2:
                raise UserError(
                    "train.strategy multi_worker_mirrored needs at least two workers in the environment variable TF_CONFIG, "
                    'each with {"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", "index": i}}. '
                    f"Received: {cluster.num_workers}. Use mirrored, one_device or auto on a single machine."
                )
            native = _make_multi_worker_mirrored()
            devices = list(native.extended.worker_devices)
        case "tpu":
            native = _connect_tpu()
            devices = list(native.extended.worker_devices)
        case _:
            device = (gpus or tf.config.list_logical_devices("CPU"))[0].name
            return Placement(name="one_device", devices=(_shorten(device),), cluster=cluster)
    return Placement(
        name=strategy,
        devices=tuple(_shorten(device) for device in devices),
        num_replicas=native.num_replicas_in_sync,
        native=native,
        cluster=cluster,
    )


# One of a kind a process: a second one would number its exchanges like the first, and TensorFlow take them for the same.
@functools.cache
def _make_mirrored(devices: tuple[str, ...]) -> Any:
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(devices)


@functools.cache
def _make_multi_worker_mirrored() -> Any:
    import tensorflow as tf

    return tf.distribute.MultiWorkerMirroredStrategy()


@functools.cache
def _connect_tpu() -> Any:
    import tensorflow as tf

    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver()
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
    except Exception as error:  # errors of several kinds, by what is missing
        raise UserError(
            f"train.strategy tpu needs a TPU that TensorFlow can reach. Received: {type(error).__name__}: {error}. "
            "Use another strategy, or backend jax with data_parallel."
        ) from error
    return tf.distribute.TPUStrategy(resolver)


def _make_for_jax(train: Mapping[str, Any], find_backbone: Callable[[], type]) -> Placement:
    devices = keras.distribution.list_devices()
    strategy = train["strategy"]
    if strategy == "auto":
        strategy = "data_parallel" if len(devices) > 1 else "one_device"
    if strategy == "one_device":
        return Placement(name=strategy, devices=tuple(devices[:1]))
    if len(devices) < 2:
        raise UserError(
            f"train.strategy {strategy} needs at least two devices. Received: {', '.join(devices)}. "
            "Use one_device or auto."
        )
    distribution: keras.distribution.Distribution
    if strategy == "data_parallel":
        distribution = keras.distribution.DataParallel(devices=devices)
    else:
        shape = (train["mesh"]["batch"], train["mesh"]["model"])
        if shape[0] * shape[1] != len(devices):
            raise UserError(
                f"train.mesh must have as many places as there are devices, {len(devices)} ({', '.join(devices)}). "
                f"Received: batch {shape[0]} x model {shape[1]}."
            )
        mesh = keras.distribution.DeviceMesh(shape, ("batch", "model"), devices)
        layout_map = make_layout_map(find_backbone(), mesh)
        distribution = keras.distribution.ModelParallel(layout_map=layout_map, batch_dim_name="batch")
    return Placement(
        name=strategy,
        devices=tuple(devices),
        num_replicas=distribution.num_model_replicas,
        native=distribution,
    )


def _shorten(device: str) -> str:
    """`GPU:0` of `/job:localhost/replica:0/task:0/device:GPU:0`, with the task where there are several."""
    parts = dict(part.split(":", 1) for part in device.strip("/").split("/"))
    task = "" if parts.get("job", "localhost") == "localhost" else f"{parts['job']} {parts.get('task', '0')} "
    return task + parts["device"]
