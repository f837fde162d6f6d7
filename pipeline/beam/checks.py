"""Checks the `beam` section of a runner's YAML with Beam's own parsers and validators, before anything runs."""

from collections.abc import Iterator, Mapping
from typing import Any

from components.options import nearest
from configs.load import Problem
from configs.refused_runners import explain_refused_runner
from configs.runner_schema import BeamSection
from pipeline.beam.options import PORTABLE, format_option, get_worker_image, make_beam_args
from pipeline.beam.parser import BeamParser

_ENVIRONMENTS = ("DOCKER", "EXTERNAL", "PROCESS", "LOOPBACK")
_WAITS = "nodes are batch pipelines whose files are read when they end"
_SECRET = "credentials come from the environment, never from YAML"
_OWNED = {
    "runner": "`beam.runner` says so",
    "direct_running_mode": "`beam.mode` says so",
    "direct_num_workers": "`beam.workers` says so",
    "worker_harness_container_image": "it is the old name of `sdk_container_image`",
    **dict.fromkeys(("no_wait_until_finish", "streaming", "update", "create_from_snapshot"), _WAITS),
    **dict.fromkeys(("output_executable_path", "template_location", "dataflow_job_file"), _WAITS),
    **dict.fromkeys(
        ("s3_access_key_id", "s3_secret_access_key", "s3_session_token", "azure_connection_string"), _SECRET
    ),
}
_OWNED_BY_RUNNER = {
    "direct": {"sdk_container_image": "the direct runner's workers are processes of this environment"},
    "dataflow": {"job_name": "jobs of one name cannot run side by side, and Beam gives each a name of its own"},
}
_NEEDED = {
    "dataflow": {
        "project": "the Google Cloud project",
        "region": "the region of the workers, such as us-central1",
        "temp_location": "a folder in a bucket, gs://bucket/folder",
    },
    "flink": {},
    "spark": {},
    "direct": {},
}
_MASTERS = {"flink": "flink_master", "spark": "spark_master_url"}


def find_beam_problems(
    beam: BeamSection, *, image: str | None = None, temp_root: str | None = None, key: str = "beam"
) -> list[Problem]:
    """Returns what is wrong with a `beam` section; empty if all is well. Reaches no service.

    Imports Beam, which takes seconds, only if there is something for it to parse: options, or a runner on other machines.

    Args:
        beam: The section.
        image: See `make_beam_args`.
        temp_root: See `make_beam_args`.
        key: Where the section stands in its file.
    """
    found = list(_find_mode_problems(beam))
    refused = _find_refused(beam)
    found += [(f"options.{name}", message) for name, message in refused.items()]
    options = {name: value for name, value in beam.options.items() if name not in refused}
    if options or beam.runner != "direct":
        parser = BeamParser(beam.runner)
        args = {name: format_option(name, value) for name, value in options.items()}
        bad = {n: message for n, value in options.items() if (message := parser.find_problem(n, value, args[n]))}
        good = beam.model_copy(update={"options": {n: value for n, value in options.items() if n not in bad}})
        missing = _find_missing(good, image, temp_root)
        found += [(f"options.{n}", message) for n, message in (missing | bad).items() if n not in refused]
        values = parser.parse([arg for n in good.options for arg in args[n]])
        found += _find_contradictions(beam.runner, values, make_beam_args(good, image=image, temp_root=temp_root))
    return [Problem(f"{key}.{place}", message) for place, message in found]


def _find_mode_problems(beam: BeamSection) -> Iterator[tuple[str, str]]:
    if beam.runner != "direct":
        if beam.mode != "in_memory":
            yield "mode", f"is of the runner direct. Received: {beam.mode!r} with {beam.runner}. Leave it out."
        if beam.workers:
            yield (
                "workers",
                f"is of the runner direct. Received: {beam.workers} with {beam.runner}. Set `options` instead.",
            )
    elif beam.workers > 1 and beam.mode == "in_memory":
        yield (
            "workers",
            f"needs `mode: multi_processing`. Received: {beam.workers} with in_memory, which is one process.",
        )


def _find_refused(beam: BeamSection) -> dict[str, str]:
    """Options that a YAML may not give, whatever their value, and values that name a refused runner."""
    owned = _OWNED | _OWNED_BY_RUNNER.get(beam.runner, {})
    found = {name: f"may not be given: {reason}." for name, reason in owned.items() if name in beam.options}
    for name, value in beam.options.items():
        # A class of a runner may stand anywhere, the options of a refused runner begin with its name.
        values = value if isinstance(value, list) else [str(value)]
        words = [name, *(text for text in values if "runner" in text.lower())]
        if reason := next(filter(None, map(explain_refused_runner, words)), None):
            found[name] = reason
    return found


def _find_missing(beam: BeamSection, image: str | None, temp_root: str | None) -> dict[str, str]:
    """What the runner needs and neither options nor defaults give, by option name."""
    options, runner = beam.options, beam.runner
    given = {name for name, value in options.items() if value != ""}
    if temp_root and temp_root.startswith("gs://"):
        given.add("temp_location")
    found = {name: f"{runner} needs it: {what}." for name, what in _NEEDED[runner].items() if name not in given}
    has_image = get_worker_image(beam, image) is not None
    if runner == "dataflow" and not has_image:
        found["sdk_container_image"] = "dataflow needs it, or the runner's `image`: the image of the workers."
    if runner not in PORTABLE:
        return found
    master = _MASTERS[runner]
    if not {master, "job_endpoint"} & given:
        found[master] = (
            f"{runner} needs it (Beam then starts a job server, with Java), or `job_endpoint`, the host:port of a job server "
            "that runs."
        )
    if "environment_type" not in given and not has_image:
        found["environment_type"] = (
            f"{runner} needs it or an image for its workers (`sdk_container_image` or the runner's `image`): EXTERNAL with "
            "`environment_config: host:port` of a worker pool, or LOOPBACK for workers in this process."
        )
    if options.get("environment_type") == "DOCKER" and not has_image and not _has_environment(options):
        found["environment_config"] = "DOCKER needs it, or the runner's `image`: the image of the workers."
    if options.get("spark_submit_uber_jar") and "spark_rest_url" not in given:
        found["spark_rest_url"] = "`spark_submit_uber_jar` needs it: the master's REST address, host:port."
    return found


def _has_environment(options: Mapping[str, Any]) -> bool:
    return bool({"environment_config", "environment_option", "environment_options"} & set(options))


def _find_contradictions(runner: str, values: Mapping[str, Any], args: list[str]) -> Iterator[tuple[str, str]]:
    """Options that are well formed and do not go together; most of these are known to Beam's own validator."""
    workers, most = values.get("num_workers"), values.get("max_num_workers")
    if values.get("autoscaling_algorithm") == "NONE" and most is not None and most != workers:
        yield (
            "options.max_num_workers",
            f"has no effect with `autoscaling_algorithm: NONE`, which keeps `num_workers`. Received: {most} "
            f"with num_workers {workers}.",
        )
    parallelism, limit = values.get("parallelism") or 0, values.get("max_parallelism") or 0
    if parallelism > limit > 0:
        yield "options.parallelism", f"must be at most max_parallelism ({limit}). Received: {parallelism}."
    environment = values.get("environment_type")
    if environment is not None and environment not in _ENVIRONMENTS:
        near = nearest(environment, _ENVIRONMENTS)
        choices = ", ".join(_ENVIRONMENTS)
        yield "options.environment_type", f"must be one of {choices}.{near} Received: {environment!r}."
    for message in _validate(runner, args):
        yield "options", message


def _validate(runner: str, args: list[str]) -> Iterator[str]:
    from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions, WorkerOptions
    from apache_beam.options.pipeline_options_validator import PipelineOptionsValidator

    options = PipelineOptions(args)
    # Given its runner, the validator would ask Google Cloud for buckets; without one it leaves these checks out.
    validator = PipelineOptionsValidator(options, None)
    yield from validator.validate()
    if runner != "dataflow":
        return
    workers, cloud = options.view_as(WorkerOptions), options.view_as(GoogleCloudOptions)
    yield from validator.validate_num_workers(workers)
    yield from validator.validate_worker_region_zone(workers)
    if cloud.project and cloud.region:
        yield from validator.validate_cloud_options(cloud)
    for name in ("temp_location", "staging_location"):
        if getattr(cloud, name):
            yield from validator.validate_gcs_path(cloud, name)
