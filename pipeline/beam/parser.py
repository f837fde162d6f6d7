"""Which options Beam has for a runner, and whether it takes their values: by the parsers of Beam's own option classes."""

import argparse
from typing import Any, NoReturn

from components.options import nearest

_OF_ALL = (
    "StandardOptions",
    "TypeOptions",
    "DebugOptions",
    "ProfilingOptions",
    "SetupOptions",
    "WorkerOptions",
    "GoogleCloudOptions",
    "HadoopFileSystemOptions",
    "S3Options",
    "AzureOptions",
)
_OF_RUNNER = {
    "direct": ("DirectOptions",),
    "flink": ("PortableOptions", "JobServerOptions", "FlinkRunnerOptions"),
    "spark": ("PortableOptions", "JobServerOptions", "SparkRunnerOptions"),
    "dataflow": (),
}
_DATAFLOW_CLASSES = ("WorkerOptions", "GoogleCloudOptions")
# What workers and file systems of every runner read in these two classes; the rest is Dataflow's.
_NOT_ONLY_DATAFLOW = {
    "sdk_container_image",
    "default_sdk_harness_log_level",
    "sdk_harness_log_level_overrides",
    "max_cache_memory_usage_mb",
    "element_processing_timeout_minutes",
    "project",
    "job_name",
    "temp_location",
    "no_auth",
    "impersonate_service_account",
    "gcp_oauth_scope",
    "gcp_oauth_scopes",
    "enable_bucket_read_metric_counter",
    "enable_bucket_write_metric_counter",
    "no_gcsio_throttling_counter",
    "enable_gcsio_blob_generation",
    "gcs_custom_audit_entry",
    "gcs_custom_audit_entries",
}


class BeamParser:
    """The options of one runner. One is made only if there are options, as importing Beam takes seconds."""

    def __init__(self, runner: str):
        self._runner = runner
        self._parser = _make_parser(runner)

    def find_problem(self, name: str, value: Any, args: list[str]) -> str | None:
        """Returns what is wrong with one option, or None; `args` are the arguments that give Beam its value."""
        actions = self._parser.actions
        action = actions.get(name)
        if action is None:
            others = [other for other in _OF_RUNNER if other != self._runner and name in _make_parser(other).actions]
            if others:
                return f"is an option of {', '.join(others)}, and {self._runner} does not read it."
            return f"unknown option of Beam for {self._runner}.{nearest(name, actions)} Received: {name!r}."
        if action.nargs == 0:
            return None if isinstance(value, bool) else f"must be true or false. Received: {value!r}."
        if isinstance(value, bool):
            if f"no_{name}" in actions:
                return None
            return f"must be a value, not true or false. Received: {value!r}."
        try:
            parsed = self.parse(args)[action.dest]
        except ValueError as error:
            return f"{_state_rule(action, error)}. Received: {value!r}."
        if isinstance(value, list) and not isinstance(parsed, list | dict):
            return f"must be one value, not a list. Received: {value!r}."
        return None

    def parse(self, args: list[str]) -> dict[str, Any]:
        """Returns what Beam makes of arguments, by its own names for them; absent ones have Beam's defaults.

        Raises:
            ValueError: If Beam does not take a value.
        """
        return vars(self._parser.parse_args(args))


class _Parser(argparse.ArgumentParser):
    """Keeps the options by name, and raises ValueError instead of ending the process."""

    def __init__(self) -> None:
        self.actions: dict[str, argparse.Action] = {}
        super().__init__(allow_abbrev=False, add_help=False)

    def add_argument(self, *args: Any, **kwargs: Any) -> argparse.Action:
        action = super().add_argument(*args, **kwargs)
        self.actions |= {flag.removeprefix("--"): action for flag in action.option_strings}
        return action

    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


def _make_parser(runner: str) -> _Parser:
    from apache_beam.options import pipeline_options

    parser = _Parser()
    for name in (*_OF_ALL, *_OF_RUNNER[runner]):
        before = set(parser.actions)
        # The hook by which Beam's classes, and those of its users, state their options.
        getattr(pipeline_options, name)._add_argparse_args(parser)
        if runner != "dataflow" and name in _DATAFLOW_CLASSES:
            for option in set(parser.actions) - before - _NOT_ONLY_DATAFLOW:
                del parser.actions[option]
    return parser


def _state_rule(action: argparse.Action, error: ValueError) -> str:
    if action.choices is not None:
        return f"must be one of {', '.join(map(str, action.choices))}"
    if action.type in (int, float):
        return "must be an integer" if action.type is int else "must be a number"
    return f"Beam does not take the value: {str(error).rpartition(': ')[0] or error}"
