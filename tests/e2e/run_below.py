"""Runs a pipeline whose places are all below a root of any kind, with the project's own launcher: a process a node."""

import json
import sys
from pathlib import Path

from rich.console import Console

from configs.load import parse_sections
from configs.runner_schema import LocalRunnerConfig
from configs.schema import RunConfig
from pipeline.beam.options import make_beam_args
from pipeline.local_runner import make_run_id, run_nodes
from pipeline.paths import Paths, make_places


def create(config: RunConfig, root: str, beam_args: list[str]):
    """Returns the TFX pipeline; called in a process that has TFX."""
    from pipeline.pipeline import create_pipeline

    return create_pipeline(config, places=make_places(root, config.pipeline.name), beam_pipeline_args=beam_args)


def main(config_file: str, root: str, folder: str) -> None:
    """Runs it.

    Args:
        config_file: JSON of the run.
        root: folder or address of artifacts, serving folder and the other places.
        folder: local, for logs and the metadata store.
    """
    sections, problems = parse_sections(json.loads(Path(config_file).read_text()))
    assert not problems, problems
    config = RunConfig(**sections)
    paths = Paths(root=Path(folder), name=config.pipeline.name)
    runner = LocalRunnerConfig(kind="local", root=folder, max_parallel_nodes=2)
    record = {"config": "", "config_path": config_file, "code_sha256": "", "pipeline": config.pipeline.name}
    run_nodes(create, (config, root, make_beam_args(runner.beam)), paths, runner, record, make_run_id(), Console())


if __name__ == "__main__":
    main(*sys.argv[1:])
