"""Stub, replaced."""

from configs.runner_schema import BeamSection


def make_beam_args(beam: BeamSection) -> list[str]:
    """x."""
    return ["--runner=DirectRunner", "--prism_location=/nonexistent", "--sdk_container_image=none"]
