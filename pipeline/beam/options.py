"""Apache Beam's arguments from the `beam` section of a runner's YAML. Imports no Beam, which takes seconds.

What may stand in `beam.options` is checked in `pipeline.beam.checks`.
"""

import re
from typing import Any

from configs.runner_schema import BeamSection

RUNNER_CLASSES = {
    "direct": "DirectRunner",
    "flink": "FlinkRunner",
    "spark": "SparkRunner",
    "dataflow": "DataflowRunner",
}
PORTABLE = ("flink", "spark")
# Without an image (or packages), TFX builds a source package of itself for every node that runs Beam. The workers that this
# stands for are processes of this environment, or were started with their own.
NO_IMAGE = "none"
# TensorFlow Data Validation can be imported only after `tfx`, which stands in for a module that TFX's libraries no longer
# have. Workers import plugins before they load the functions of a pipeline.
_PLUGIN = "tfx"
# Beam adds up what is given several times for these; ours stay beside those of `options`.
_REPEATABLE = ("beam_plugin", "label")
# Options whose `false` is another flag.
_FLAGS_OF_FALSE = {"use_public_ips": "no_use_public_ips", "save_main_session": "no_save_main_session"}


def make_beam_args(
    beam: BeamSection, *, image: str | None = None, job_prefix: str = "", temp_root: str | None = None
) -> list[str]:
    """Returns the arguments for TFX's `beam_pipeline_args`.

    They are part of the cache key of every node that runs Beam: the same section gives the same arguments, so that nothing in
    them is unique to a run.

    Args:
        beam: The section; what stands in its `options` replaces the defaults made here.
        image: The image of the workers on other machines; `sdk_container_image` of the options comes first.
        job_prefix: The pipeline's name. Flink and Spark name jobs by it; on Dataflow it is their label `pipeline`, as jobs of
            one name cannot run side by side there.
        temp_root: A folder in a bucket (`gs://…`) for Dataflow's temporary files and staging.
    """
    defaults = _make_defaults(beam, get_worker_image(beam, image), job_prefix, temp_root)
    args = []
    for name, value in defaults.items():
        if name in _REPEATABLE or name not in beam.options:
            args += format_option(name, value)
    for name, value in beam.options.items():
        args += format_option(name, value)
    return args


def get_worker_image(beam: BeamSection, image: str | None) -> str | None:
    """Returns the image of the workers: the one in the options, else `image`."""
    return str(beam.options.get("sdk_container_image") or image or "") or None


def format_option(name: str, value: Any) -> list[str]:
    """Returns the arguments that give Beam an option: a flag for true, one argument for each element of a list."""
    if isinstance(value, bool):
        flag = name if value else _FLAGS_OF_FALSE.get(name)
        return [f"--{flag}"] if flag else []
    return [f"--{name}={element}" for element in (value if isinstance(value, list) else [value])]


def _make_defaults(beam: BeamSection, image: str | None, job_prefix: str, temp_root: str | None) -> dict[str, Any]:
    if beam.runner == "direct":
        return _make_direct_defaults(beam)
    defaults: dict[str, Any] = {
        "runner": RUNNER_CLASSES[beam.runner],
        "sdk_container_image": image or NO_IMAGE,
        "beam_plugin": _PLUGIN,
    }
    name = re.sub(r"[^a-z0-9-]", "-", job_prefix.lower())[:63]
    if beam.runner == "dataflow":
        # Nodes name their functions by module; by default Beam would also pickle and send what `__main__` holds.
        defaults["save_main_session"] = False
        if name:
            defaults["label"] = f"pipeline={name}"
        if temp_root and temp_root.startswith("gs://"):
            defaults["temp_location"] = f"{temp_root.rstrip('/')}/beam/temp"
            defaults["staging_location"] = f"{temp_root.rstrip('/')}/beam/staging"
        return defaults
    if name:
        defaults["job_name"] = name
    if beam.options.get("job_endpoint"):
        # A job server that runs already; the runners of these names would start one.
        defaults["runner"] = "PortableRunner"
    if image:
        defaults |= _make_environment_defaults(beam, image)
    return defaults


def _make_direct_defaults(beam: BeamSection) -> dict[str, Any]:
    # Without a place for its binary, DirectRunner would download Prism and run on it.
    defaults = {"runner": RUNNER_CLASSES["direct"], "prism_location": "/nonexistent", "sdk_container_image": NO_IMAGE}
    if beam.mode == "multi_processing":
        defaults |= {
            "direct_running_mode": beam.mode,
            "direct_num_workers": str(beam.workers),
            "beam_plugin": _PLUGIN,
        }
    return defaults


def _make_environment_defaults(beam: BeamSection, image: str) -> dict[str, Any]:
    """Containers of the image, unless the options say otherwise."""
    if beam.options.get("environment_type", "DOCKER") != "DOCKER":
        return {}
    if {"environment_option", "environment_options"} & set(
        beam.options
    ):  # Beam takes no `environment_config` beside these.
        return {"environment_type": "DOCKER"}
    return {"environment_type": "DOCKER", "environment_config": image}
