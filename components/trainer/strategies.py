"""The ways to spread a training over devices: which there are, and what can go together. Imports nothing heavy."""

import dataclasses
import importlib.util
import json
import os
from collections.abc import Mapping
from typing import Any

BACKENDS = ("tensorflow", "jax")
# By backend; `auto` is one of these, picked from the devices that are there.
STRATEGIES = {
    "tensorflow": ("one_device", "mirrored", "multi_worker_mirrored", "tpu"),
    "jax": ("one_device", "data_parallel", "model_parallel"),
}
_ALTERNATIVES = {
    "mirrored": "data_parallel",
    "multi_worker_mirrored": "data_parallel",
    "tpu": "data_parallel, which uses every TPU core",
    "data_parallel": "mirrored",
    "model_parallel": "mirrored, if the model fits on one device; else set train.backend: jax",
}


@dataclasses.dataclass(frozen=True)
class Cluster:
    """This process among the workers of a training.

    Attributes:
        num_workers: processes that train together.
        index: this one's number.
    """

    num_workers: int = 1
    index: int = 0

    @property
    def is_chief(self) -> bool:
        """Whether this process writes what is written once."""
        return self.index == 0


def read_cluster() -> Cluster:
    """Reads `TF_CONFIG`, by which TensorFlow, Vertex AI and Kubeflow's training operator name the workers.

    Raises:
        ValueError: it is set but not of the form that TensorFlow defines.
    """
    text = os.environ.get("TF_CONFIG", "")
    if not text:
        return Cluster()
    try:
        content = json.loads(text)
        cluster, task = content.get("cluster") or {}, content.get("task") or {}
        chiefs, workers = len(cluster.get("chief", [])), len(cluster.get("worker", []))
        index = int(task.get("index", 0)) + (chiefs if task.get("type") == "worker" else 0)
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(
            'TF_CONFIG must be JSON like {"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", "index": 0}}. '
            f"Received: {text!r}"
        ) from error
    if task and task.get("type") not in ("chief", "worker"):
        return Cluster()  # an evaluator or parameter server takes no part
    return Cluster(max(chiefs + workers, 1), index)


def find_strategy_problems(train: Mapping[str, Any]) -> dict[str, str]:
    """What cannot work in a `train` section, whatever the devices: messages by key. Imports no backend.

    Args:
        train: with `backend`, `strategy`, `mesh`, `batch_size`, `gradient_accumulation_steps`.
    """
    backend, strategy, mesh = train["backend"], train["strategy"], train["mesh"]
    problems = {}
    if importlib.util.find_spec(backend) is None:
        problems["backend"] = f"`{backend}` needs a package that is not installed. Run `make venv-{backend}`."
    if strategy != "auto" and strategy not in STRATEGIES[backend]:
        reason = (
            "tf.distribute's strategies distribute the variables of the TensorFlow backend alone"
            if backend == "jax"
            else "keras.distribution works on the JAX backend alone: for TensorFlow, Keras 3 has only a prototype of it "
            "(keras/src/backend/tensorflow/distribution_lib.py)"
        )
        problems["strategy"] = (
            f"`{strategy}` does not work with train.backend {backend}: {reason}. Use {_ALTERNATIVES[strategy]}, or set "
            f"train.backend: {'tensorflow' if backend == 'jax' else 'jax'}."
        )
    if strategy == "model_parallel" and mesh is None:
        problems["mesh"] = (
            "is needed by strategy model_parallel: {batch: B, model: M} for B * M devices, of which M share one model."
        )
    elif strategy != "model_parallel" and mesh is not None:
        problems["mesh"] = f"is for strategy model_parallel. Received: strategy {strategy}. Leave `mesh` out."
    elif mesh is not None and train["batch_size"] % (train["gradient_accumulation_steps"] * mesh["batch"]):
        problems["mesh"] = (
            "`mesh.batch` times `gradient_accumulation_steps` must divide `batch_size`. Received: "
            f"{mesh['batch']} x {train['gradient_accumulation_steps']} and {train['batch_size']}."
        )
    return problems
