"""Pusher that makes a model version visible only once it is whole."""

from tfx.components.pusher import component
from tfx.dsl.components.base import executor_spec

from components.pusher.executor import Executor


class Pusher(component.Pusher):
    """Pushes a blessed model to a versioned folder."""

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)
